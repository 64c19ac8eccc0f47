/** Loads the atlas, piece by piece: each is a script beside the page that hands over one Arrow table. */

import { tableFromIPC, type Table } from "apache-arrow";

export interface Index {
  version: string;
  snapshot: string | null;
  pieceRows: number;
  pieces: { models: number; edges: number }[];
  relations: string[];
  origins: string[];
  rules: string[];
  words: Record<"license" | "pipeline_tag" | "modality" | "said", string[]>;
  first_day: number;
  last_day: number;
  least_x: number;
  greatest_x: number;
  least_y: number;
  greatest_y: number;
  alone_from: number;
}

const MODEL_COLUMNS = {
  x: Float32Array, y: Float32Array, downloads: Int32Array, descendants: Int32Array, created: Int32Array,
  relation: Uint8Array, origin: Uint8Array, confidence: Float32Array, license: Uint16Array, task: Uint16Array,
  modality: Uint8Array, component: Int32Array,
} as const;
const EDGE_COLUMNS = {
  parent: Int32Array, child: Int32Array, relation: Uint8Array, origin: Uint8Array, rule: Uint8Array,
  confidence: Float32Array, ambiguous: Uint8Array, said: Uint16Array, coefficient: Float32Array,
  distance: Float32Array, candidates: Int32Array,
} as const;

type Columns<T extends Record<string, new (length: number) => unknown>> = { [K in keyof T]: InstanceType<T[K]> };
export type Models = Columns<typeof MODEL_COLUMNS> & { ids: string[] };
export type Edges = Columns<typeof EDGE_COLUMNS>;

/** All models and edges; rows up to `loaded` are there. A model's number is its row: the most downloaded comes first. */
export class Atlas {
  readonly models: Models;
  readonly edges: Edges;
  loaded = { models: 0, edges: 0, pieces: 0 };

  constructor(readonly index: Index) {
    const total = (kind: "models" | "edges") => index.pieces.reduce((sum, piece) => sum + piece[kind], 0);
    this.models = Object.assign(made(MODEL_COLUMNS, total("models")) as Columns<typeof MODEL_COLUMNS>, { ids: [] });
    this.edges = made(EDGE_COLUMNS, total("edges")) as Edges;
  }

  get size(): number {
    return this.models.x.length;
  }

  /** Load one piece after the other; `told` is called after each. */
  async load(told: () => void): Promise<void> {
    for (let number = 0; number < this.index.pieces.length; number++) {
      const name = String(number).padStart(3, "0");
      const [models, edges] = await Promise.all([piece(`models-${name}`), piece(`edges-${name}`)]);
      copy(models, MODEL_COLUMNS, this.models, this.loaded.models);
      for (const id of models.getChild("id")!.toArray() as Iterable<string>) this.models.ids.push(id);
      copy(edges, EDGE_COLUMNS, this.edges, this.loaded.edges);
      this.loaded = {
        models: this.loaded.models + models.numRows,
        edges: this.loaded.edges + edges.numRows,
        pieces: number + 1,
      };
      told();
    }
  }
}

type Array_ = Float32Array | Int32Array | Uint8Array | Uint16Array;

function made(columns: Record<string, new (length: number) => unknown>, length: number): object {
  return Object.fromEntries(Object.entries(columns).map(([name, kind]) => [name, new kind(length)]));
}

function copy(from: Table, columns: object, into: object, start: number): void {
  for (const name of Object.keys(columns)) {
    (into as Record<string, Array_>)[name].set(from.getChild(name)!.toArray() as Array_, start);
  }
}

const waiting = new Map<string, (packed: string) => void>();

interface Handed {
  atlasIndex: (index: Index) => void;
  atlasPiece: (name: string, packed: string) => void;
}

(globalThis as unknown as Handed).atlasPiece = (name, packed) => waiting.get(name)?.(packed);

export async function readIndex(): Promise<Index> {
  let index: Index | undefined;
  (globalThis as unknown as Handed).atlasIndex = (given) => (index = given);
  await script("index");
  if (!index) throw new Error("data/index.js holds no index");
  return index;
}

async function piece(name: string): Promise<Table> {
  let packed = "";
  waiting.set(name, (given) => (packed = given));
  await script(name);
  waiting.delete(name);
  if (!packed) throw new Error(`data/${name}.js holds no data`);
  const binary = atob(packed);
  const bytes = new Uint8Array(binary.length);
  for (let at = 0; at < bytes.length; at++) bytes[at] = binary.charCodeAt(at);
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return tableFromIPC(new Uint8Array(await new Response(stream).arrayBuffer()));
}

function script(name: string): Promise<void> {
  return new Promise((done, failed) => {
    const made = document.createElement("script");
    made.src = `data/${name}.js`;
    made.onload = () => (made.remove(), done());
    made.onerror = () => failed(new Error(`data/${name}.js cannot be loaded; the folder of the map is not complete`));
    document.head.append(made);
  });
}
