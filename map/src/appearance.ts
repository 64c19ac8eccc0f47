/** What models and edges look like: colours, sizes, and what the filters leave. */

import { day, printable } from "./dom";
import type { Atlas } from "./data";

export type Rgb = readonly [number, number, number];

/** Okabe and Ito's colours, told apart by nearly everyone; the first stands for nothing known. */
const PALETTE: Rgb[] = [
  [136, 144, 152], [0, 114, 178], [230, 159, 0], [0, 158, 115], [204, 121, 167], [86, 180, 233], [213, 94, 0], [240, 228, 66],
];
/** Cividis, at five places. */
const RAMP: Rgb[] = [[0, 48, 111], [71, 84, 108], [124, 123, 120], [184, 167, 109], [253, 231, 85]];
/** The same from where it can be seen on black. */
const DARK_RAMP: Rgb[] = [[64, 98, 168], [104, 116, 142], [143, 140, 133], [197, 180, 112], [253, 231, 85]];

export const COLOURS = {
  relation: "Relation", modality: "Modality", license: "License", task: "Task", created: "Date", confidence: "Confidence",
} as const;
export const SIZES = { downloads: "Downloads", descendants: "Descendants", same: "All the same" } as const;

export interface Look {
  colour: keyof typeof COLOURS;
  size: keyof typeof SIZES;
  relations: Set<number>;
  origins: Set<number>;
  leastConfidence: number;
  until: number;
  dark: boolean;
}

export interface Legend {
  entries: { text: string; colour: Rgb }[];
  ramp?: { colours: readonly Rgb[]; low: string; high: string };
}

const HIDDEN = 0;
const MODEL_ALPHA = 225;
const EDGE_ALPHA = 70;

/** Arrays that are drawn: a change of the look rewrites them from one row to another. */
export class Appearance {
  readonly radius: Float32Array<ArrayBuffer>;
  readonly colour: Uint8Array<ArrayBuffer>;
  readonly position: Float32Array<ArrayBuffer>;
  readonly from: Float32Array<ArrayBuffer>;
  readonly to: Float32Array<ArrayBuffer>;
  readonly edgeColour: Uint8Array<ArrayBuffer>;

  constructor(private readonly atlas: Atlas, readonly look: Look) {
    const { size } = atlas;
    const edges = atlas.edges.child.length;
    this.radius = new Float32Array(size);
    this.colour = new Uint8Array(4 * size);
    this.position = new Float32Array(2 * size);
    this.from = new Float32Array(2 * edges);
    this.to = new Float32Array(2 * edges);
    this.edgeColour = new Uint8Array(4 * edges);
  }

  place(from: { models: number; edges: number }): void {
    const { x, y } = this.atlas.models;
    for (let at = from.models; at < this.atlas.loaded.models; at++) {
      this.position[2 * at] = x[at];
      this.position[2 * at + 1] = y[at];
    }
    const { parent, child } = this.atlas.edges;
    for (let at = from.edges; at < this.atlas.loaded.edges; at++) {
      this.from[2 * at] = x[parent[at]];
      this.from[2 * at + 1] = y[parent[at]];
      this.to[2 * at] = x[child[at]];
      this.to[2 * at + 1] = y[child[at]];
    }
  }

  isShown(model: number): boolean {
    const { relation, origin, confidence, created } = this.atlas.models;
    const { relations, origins, leastConfidence, until } = this.look;
    // Source models have no edge to be sure of.
    return (
      relations.has(relation[model]) && created[model] <= until &&
      (origin[model] === 0 || (origins.has(origin[model]) && confidence[model] >= leastConfidence))
    );
  }

  /** Rewrite colours and sizes; returns how many models are shown. */
  paint(from = { models: 0, edges: 0 }): number {
    const { atlas, look } = this;
    const colourOf = this.colours();
    const size = atlas.models[look.size === "same" ? "downloads" : look.size];
    let shown = 0;
    for (let at = from.models; at < atlas.loaded.models; at++) {
      const visible = this.isShown(at);
      const [red, green, blue] = colourOf(at);
      this.colour[4 * at] = red;
      this.colour[4 * at + 1] = green;
      this.colour[4 * at + 2] = blue;
      this.colour[4 * at + 3] = visible ? MODEL_ALPHA : HIDDEN;
      this.radius[at] = look.size === "same" ? 0.8 : 0.6 + 0.07 * Math.log2(1 + size[at] / 8);
      shown += Number(visible);
    }
    const { parent, child, relation, origin, confidence } = atlas.edges;
    for (let at = from.edges; at < atlas.loaded.edges; at++) {
      const visible =
        look.relations.has(relation[at]) && look.origins.has(origin[at]) && confidence[at] >= look.leastConfidence &&
        this.colour[4 * parent[at] + 3] !== HIDDEN && this.colour[4 * child[at] + 3] !== HIDDEN;
      const [red, green, blue] = PALETTE[relation[at]];
      this.edgeColour[4 * at] = red;
      this.edgeColour[4 * at + 1] = green;
      this.edgeColour[4 * at + 2] = blue;
      this.edgeColour[4 * at + 3] = visible ? EDGE_ALPHA : HIDDEN;
    }
    return shown;
  }

  legend(): Legend {
    const { index } = this.atlas;
    const { colour } = this.look;
    if (colour === "created") {
      return { entries: [], ramp: { colours: this.ramp(), low: day(index.first_day), high: day(index.last_day) } };
    }
    if (colour === "confidence") return { entries: [], ramp: { colours: this.ramp(), low: "0 %", high: "100 %" } };
    if (colour === "relation") {
      const entries = relationNames(this.atlas).map((text, code) => ({ text, colour: this.plain(code) }));
      return { entries: [...entries, { text: "stands alone", colour: PALETTE[0] }] };
    }
    const words = index.words[colour === "task" ? "pipeline_tag" : colour];
    const named = words.slice(0, PALETTE.length - 1).map((word, at) => ({ text: printable(word), colour: PALETTE[at + 1] }));
    const rest = words.length >= PALETTE.length ? `${words.length - PALETTE.length + 1} others, or unknown` : "unknown";
    return { entries: [...named, { text: rest, colour: PALETTE[0] }] };
  }

  private colours(): (model: number) => Rgb {
    const { models, index } = this.atlas;
    const { colour } = this.look;
    if (colour === "created" || colour === "confidence") {
      const steps = gradient(this.ramp(), 256);
      const span = Math.max(index.last_day - index.first_day, 1);
      const part = (at: number) =>
        colour === "confidence" ? models.confidence[at] : models.created[at] < 0 ? NaN : (models.created[at] - index.first_day) / span;
      return (at) => steps[Math.round(part(at) * 255)] ?? PALETTE[0];
    }
    const codes = models[colour];
    if (colour === "relation") {
      return (at) => (models.component[at] < index.alone_from ? this.plain(codes[at]) : PALETTE[0]);
    }
    return (at) => this.plain(codes[at] < PALETTE.length ? codes[at] : 0);
  }

  private plain(code: number): Rgb {
    const { colour, dark } = this.look;
    // Source models stand out from what was made of them.
    if (colour === "relation" && code === 0) return dark ? [255, 255, 255] : [20, 24, 28];
    return PALETTE[code] ?? PALETTE[0];
  }

  private ramp(): readonly Rgb[] {
    return this.look.dark ? DARK_RAMP : RAMP;
  }
}

export function relationNames(atlas: Atlas): string[] {
  return ["source model", ...atlas.index.relations];
}

function gradient(colours: readonly Rgb[], steps: number): Rgb[] {
  return Array.from({ length: steps }, (_, step) => {
    const place = (step / (steps - 1)) * (colours.length - 1);
    const below = Math.min(Math.floor(place), colours.length - 2);
    const mix = (channel: number) =>
      Math.round(colours[below][channel] + (place - below) * (colours[below + 1][channel] - colours[below][channel]));
    return [mix(0), mix(1), mix(2)];
  });
}
