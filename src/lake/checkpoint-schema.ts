import type { SchemaElement } from 'hyparquet'

/** Kinds of actions in a checkpoint. */
export const actionKinds = ['txn', 'add', 'remove', 'metaData', 'protocol'] as const
export type ActionKind = (typeof actionKinds)[number]

type Leaf = Omit<SchemaElement, 'name'>

const text: Leaf = { type: 'BYTE_ARRAY', converted_type: 'UTF8', logical_type: { type: 'STRING' } }
const long: Leaf = { type: 'INT64' }
const int: Leaf = { type: 'INT32' }
const flag: Leaf = { type: 'BOOLEAN' }

const field = (name: string, leaf: Leaf): readonly SchemaElement[] => [{ name, repetition_type: 'OPTIONAL', ...leaf }]

const texts = (name: string): readonly SchemaElement[] => [
  { name, repetition_type: 'OPTIONAL', num_children: 1, converted_type: 'LIST', logical_type: { type: 'LIST' } },
  { name: 'list', repetition_type: 'REPEATED', num_children: 1 },
  ...field('element', text),
]

const map = (name: string): readonly SchemaElement[] => [
  { name, repetition_type: 'OPTIONAL', num_children: 1, converted_type: 'MAP', logical_type: { type: 'MAP' } },
  { name: 'key_value', repetition_type: 'REPEATED', num_children: 2 },
  { name: 'key', repetition_type: 'REQUIRED', ...text },
  ...field('value', text),
]

const struct = (name: string, ...fields: readonly (readonly SchemaElement[])[]): readonly SchemaElement[] => [
  { name, repetition_type: 'OPTIONAL', num_children: fields.length },
  ...fields.flat(),
]

/** The fields of each kind, the first of which no action of it lacks. @see Delta protocol, "Checkpoint Schema" */
const fields: Readonly<Record<ActionKind, readonly (readonly SchemaElement[])[]>> = {
  txn: [field('appId', text), field('version', long), field('lastUpdated', long)],
  add: [
    field('path', text),
    map('partitionValues'),
    field('size', long),
    field('modificationTime', long),
    field('dataChange', flag),
    field('stats', text),
    map('tags'),
  ],
  remove: [
    field('path', text),
    field('deletionTimestamp', long),
    field('dataChange', flag),
    field('extendedFileMetadata', flag),
    map('partitionValues'),
    field('size', long),
  ],
  metaData: [
    field('id', text),
    field('name', text),
    field('description', text),
    struct('format', field('provider', text), map('options')),
    field('schemaString', text),
    texts('partitionColumns'),
    map('configuration'),
    field('createdTime', long),
  ],
  protocol: [
    field('minReaderVersion', int),
    field('minWriterVersion', int),
    texts('readerFeatures'),
    texts('writerFeatures'),
  ],
}

/** Names of the fields of a kind that we read and write. The first of them no action of it lacks. */
export function fieldNames(kind: ActionKind): readonly string[] {
  return fields[kind].map(([{ name } = { name: '' }]) => name)
}

/** Of the checkpoints that we write. */
export const checkpointSchema: readonly SchemaElement[] = [
  { name: 'spark_schema', num_children: actionKinds.length },
  ...actionKinds.flatMap((kind) => struct(kind, ...fields[kind])),
]
