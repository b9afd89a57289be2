"""Spark reads market_ticks, appends three rows and reads it again: docs/lake-readers.md.

    python examples/spark.py data/lake/market_ticks jars/delta-spark.jar,jars/delta-storage.jar,...

Append only while the sink is stopped: Spark makes sure that a version is made once among its own writers only.
"""

import sys

from pyspark.sql import SparkSession, functions

table, jars = sys.argv[1:]
spark = (
    SparkSession.builder.master("local[1]")
    .config("spark.jars", jars)
    .config("spark.sql.extensions", "io.delta.sql.DeltaSparkSessionExtension")
    .config("spark.sql.catalog.spark_catalog", "org.apache.spark.sql.delta.catalog.DeltaCatalog")
    .config("spark.sql.session.timeZone", "UTC")
    .config("spark.ui.showConsoleProgress", "false")
    .getOrCreate()
)
spark.sparkContext.setLogLevel("ERROR")

ticks = spark.read.format("delta").load(table)
before = spark.sql(f"describe history delta.`{table}` limit 1").first()["version"]
counts = ticks.groupBy("symbol", "dt").agg(functions.count("*"), functions.max("stream_seq"), functions.max("price"))
counts.show(truncate=False)
greatest = ticks.agg(functions.max("price")).first()[0]
print("rows with the greatest price:", ticks.where(functions.col("price") == greatest).count())

# Rows of others have no place in the stream.
few = ticks.orderBy("stream_seq").limit(3)
own = few.withColumn("stream_seq", functions.lit(None).cast("long")).withColumn("venue", functions.lit("SPARK"))
own.write.format("delta").mode("append").save(table)

print("rows now:", spark.read.format("delta").load(table).count())
print("rows before:", spark.read.format("delta").option("versionAsOf", before).load(table).count())
spark.sql(f"describe history delta.`{table}`").select("version", "operation", "engineInfo").show(truncate=False)
