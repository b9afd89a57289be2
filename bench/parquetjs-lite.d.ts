declare module 'parquetjs-lite' {
  /** Opaque. */
  type ParquetSchema = object
  interface ParquetWriter {
    appendRow(row: Readonly<Record<string, unknown>>): Promise<void>
    close(): Promise<void>
  }
  const parquetjs: {
    readonly ParquetSchema: new (
      fields: Readonly<Record<string, { type: string; compression: string; optional: boolean }>>,
    ) => ParquetSchema
    readonly ParquetWriter: {
      openFile(schema: ParquetSchema, path: string, options?: { rowGroupSize?: number }): Promise<ParquetWriter>
    }
  }
  export default parquetjs
}
