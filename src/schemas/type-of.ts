import type { FromSchema, JSONSchema } from 'json-schema-to-ts'

/** The data that an object schema describes. What the schema allows without naming it has no type. */
export type TypeOf<S extends JSONSchema> = FromSchema<S & { readonly additionalProperties: false }>
