/** Who was made from whom: edges by parent and by child, ways up and everything below. */

import type { Atlas } from "./data";

export class Graph {
  private readonly up: Grouped;
  private readonly down: Grouped;

  constructor(private readonly atlas: Atlas) {
    this.up = grouped(atlas.edges.child, atlas.loaded.edges, atlas.size);
    this.down = grouped(atlas.edges.parent, atlas.loaded.edges, atlas.size);
  }

  /** Edges from a model's parents, the surest first. */
  parents(model: number): number[] {
    const { confidence, coefficient } = this.atlas.edges;
    const part = (edge: number) => coefficient[edge] || 0;
    return of(this.up, model).sort((a, b) => part(b) - part(a) || confidence[b] - confidence[a] || a - b);
  }

  /** Edges to a model's children, the most downloaded first. */
  children(model: number): number[] {
    const { child } = this.atlas.edges;
    return of(this.down, model).sort((a, b) => child[a] - child[b]);
  }

  /** Edges from a model up to a source model, along the surest parents. */
  pathUp(model: number): number[] {
    const path: number[] = [];
    const seen = new Set([model]);
    for (let at = model; ; ) {
      const [edge] = this.parents(at);
      if (edge === undefined) return path;
      path.push(edge);
      at = this.atlas.edges.parent[edge];
      if (seen.has(at)) return path;
      seen.add(at);
    }
  }

  /** All edges above a model. */
  edgesAbove(model: number): number[] {
    return this.reached(model, this.up, this.atlas.edges.parent);
  }

  /** All edges below a model. */
  edgesBelow(model: number): number[] {
    return this.reached(model, this.down, this.atlas.edges.child);
  }

  private reached(model: number, from: Grouped, to: Int32Array): number[] {
    const edges: number[] = [];
    const seen = new Set([model]);
    const queue = [model];
    for (let at = 0; at < queue.length; at++) {
      for (const edge of of(from, queue[at])) {
        edges.push(edge);
        if (!seen.has(to[edge])) {
          seen.add(to[edge]);
          queue.push(to[edge]);
        }
      }
    }
    return edges;
  }
}

interface Grouped {
  start: Int32Array;
  member: Int32Array;
}

/** Edges by one of their ends: those of a model lie between its start and the next one's. */
function grouped(key: Int32Array, length: number, size: number): Grouped {
  const start = new Int32Array(size + 1);
  for (let at = 0; at < length; at++) start[key[at] + 1]++;
  for (let at = 0; at < size; at++) start[at + 1] += start[at];
  const next = start.slice();
  const member = new Int32Array(length);
  for (let at = 0; at < length; at++) member[next[key[at]]++] = at;
  return { start, member };
}

function of(groups: Grouped, model: number): number[] {
  return Array.from(groups.member.subarray(groups.start[model], groups.start[model + 1]));
}
