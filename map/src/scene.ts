/** Draws the atlas with deck.gl, and finds the model at a place. */

import { Deck, OrthographicView, type Layer } from "@deck.gl/core";
import { LineLayer, ScatterplotLayer } from "@deck.gl/layers";
import KDBush from "kdbush";
import type { Appearance } from "./appearance";
import type { Atlas } from "./data";

/** Rows of a layer. Only so many of the most important ones are drawn as the machine can draw in time. */
const STRIP = 16_384;
const LEAST_SHARE = { moving: 0.12, resting: 4 };
/** Milliseconds that a frame may take at most, and below which more is drawn: while the view moves, and at rest. */
const MOVING = { most: 45, least: 25 };
const RESTING = { most: 2_500, least: 800 };
const STILL_AFTER = 160;
/** If no more models than this are in view, all of them are drawn, and nothing else. */
const LOCAL = 20_000;
const NEAR_PIXELS = 10;
const LABELS = 36;
const DEEPEST = 7;
const HIGHLIGHT = { light: [11, 95, 165], dark: [124, 192, 255] } as const;

interface View {
  target: [number, number];
  zoom: number;
}

interface Wrapped {
  value: Float32Array | Uint8Array;
  size: number;
}

export class Scene {
  private readonly deck: Deck<OrthographicView>;
  private view: View = { target: [0, 0], zoom: 0 };
  private moving = false;
  private stillTimer = 0;
  /** Strips that are drawn while the view moves, and at rest. */
  private share = { moving: 1, resting: 8 };
  private began = 0;
  private waiting = false;
  private local: { models: number[]; edges: number[] } | undefined;
  private nearby: KDBush | undefined;
  private highlight = { model: -1, edges: [] as number[], strong: [] as number[] };
  private readonly wrapped = new Map<string, Wrapped>();
  showEdges = true;
  showNames = true;
  edgesOf: ((model: number) => number[]) | undefined;

  constructor(
    private readonly atlas: Atlas,
    private readonly appearance: Appearance,
    private readonly stage: HTMLElement,
    private readonly labels: HTMLElement,
    chosen: (model: number) => void,
  ) {
    this.home();
    this.deck = new Deck<OrthographicView>({
      parent: stage as HTMLDivElement,
      views: new OrthographicView({ id: "map", flipY: false }),
      viewState: this.viewState(),
      controller: { scrollZoom: { speed: 0.01, smooth: false }, keyboard: false, inertia: false, dragRotate: false },
      onViewStateChange: ({ viewState }) => {
        const { target, zoom } = viewState as unknown as { target: number[]; zoom: number | [number, number] };
        this.look({ target: [target[0], target[1]], zoom: Array.isArray(zoom) ? zoom[0] : zoom });
      },
      onBeforeRender: () => void (this.began = performance.now()),
      onAfterRender: () => this.measure(),
      onError: (error) => console.error(error.message),
      layers: [],
      // Circles have soft edges of their own; several samples a pixel would cost slow machines half of their frames.
      deviceProps: { type: "webgl", webgl: { antialias: false, powerPreference: "high-performance" } },
      parameters: { depthCompare: "always", depthWriteEnabled: false },
    });
    this.listen(chosen);
  }

  /** Show everything. */
  home(): void {
    const { least_x, greatest_x, least_y, greatest_y } = this.atlas.index;
    const [width, height] = [this.stage.clientWidth || 800, this.stage.clientHeight || 600];
    const zoom = Math.log2(0.92 * Math.min(width / (greatest_x - least_x + 4), height / (greatest_y - least_y + 4)));
    this.view = { target: [(least_x + greatest_x) / 2, (least_y + greatest_y) / 2], zoom: Math.min(zoom, 5) };
    if (this.deck) this.look(this.view);
  }

  flyTo(model: number, zoom = 3.5): void {
    const { x, y } = this.atlas.models;
    this.look({ target: [x[model], y[model]], zoom: Math.max(this.view.zoom, zoom) });
  }

  move(right: number, up: number, closer: number): void {
    const { target, zoom } = this.view;
    const step = 80 / 2 ** zoom;
    this.look({ target: [target[0] + right * step, target[1] + up * step], zoom: zoom + closer });
  }

  /** Mark a model with edges around it; those of the path to its source stand out. */
  mark(model: number, edges: number[], strong: number[]): void {
    this.highlight = { model, edges, strong };
    this.draw();
  }

  /** Take in what was loaded or painted since. */
  refresh(): void {
    this.wrapped.clear();
    this.local = undefined;
    this.draw();
    this.name();
  }

  /** Index all places; models cannot be pointed at before. */
  indexPlaces(): void {
    const { x, y } = this.atlas.models;
    const nearby = new KDBush(this.atlas.size, 64, Float32Array);
    for (let at = 0; at < x.length; at++) nearby.add(x[at], y[at]);
    this.nearby = nearby.finish();
  }

  /** The model nearest to a place of the stage, in pixels; -1 if there is none. */
  at(left: number, top: number): number {
    if (!this.nearby) return -1;
    const scale = 2 ** this.view.zoom;
    const [x, y] = this.unproject(left, top);
    let best = -1;
    let least = Infinity;
    for (const model of this.nearby.within(x, y, NEAR_PIXELS / scale)) {
      if (!this.appearance.isShown(model)) continue;
      const away = Math.hypot(this.atlas.models.x[model] - x, this.atlas.models.y[model] - y) - this.appearance.radius[model];
      if (away < least) [best, least] = [model, away];
    }
    return best;
  }

  /** Where a model is on the stage, in pixels. */
  project(model: number): [number, number] {
    const scale = 2 ** this.view.zoom;
    const { x, y } = this.atlas.models;
    const { clientWidth, clientHeight } = this.stage;
    return [
      (x[model] - this.view.target[0]) * scale + clientWidth / 2,
      (this.view.target[1] - y[model]) * scale + clientHeight / 2,
    ];
  }

  private unproject(left: number, top: number): [number, number] {
    const scale = 2 ** this.view.zoom;
    const { clientWidth, clientHeight } = this.stage;
    return [
      this.view.target[0] + (left - clientWidth / 2) / scale,
      this.view.target[1] - (top - clientHeight / 2) / scale,
    ];
  }

  private look(view: View): void {
    this.view = { target: view.target, zoom: Math.min(Math.max(view.zoom, -8), DEEPEST) };
    const started = !this.moving;
    this.moving = true;
    if (started) this.draw();
    this.deck.setProps({ viewState: this.viewState() });
    this.name();
    clearTimeout(this.stillTimer);
    this.stillTimer = window.setTimeout(() => this.rest(), STILL_AFTER);
  }

  /** The view rests once it has not moved for a while in which the last frame was done: a slow frame is no rest. */
  private rest(): void {
    if (this.waiting) {
      this.stillTimer = window.setTimeout(() => this.rest(), STILL_AFTER);
      return;
    }
    this.moving = false;
    this.draw();
    this.name();
  }

  private viewState(): Record<string, unknown> {
    return { target: [...this.view.target, 0], zoom: this.view.zoom, minZoom: -8, maxZoom: DEEPEST };
  }

  /** Adapt how much is drawn to how long the graphics card, or what stands in for it, takes for a frame. */
  private measure(): void {
    const gl = (this.deck as unknown as { device?: { gl?: WebGL2RenderingContext } }).device?.gl;
    if (!gl || this.waiting) return;
    const sync = gl.fenceSync(gl.SYNC_GPU_COMMANDS_COMPLETE, 0);
    if (!sync) return;
    gl.flush();
    this.waiting = true;
    const [began, phase] = [this.began, this.moving ? ("moving" as const) : ("resting" as const)];
    const poll = () => {
      if (gl.clientWaitSync(sync, 0, 0) === gl.TIMEOUT_EXPIRED) return void setTimeout(poll, 2);
      gl.deleteSync(sync);
      this.waiting = false;
      this.adapt(phase, performance.now() - began);
    };
    setTimeout(poll, 0);
  }

  private adapt(phase: "moving" | "resting", took: number): void {
    const { most, least } = phase === "moving" ? MOVING : RESTING;
    const all = Math.ceil(Math.max(this.atlas.size, this.atlas.edges.child.length) / STRIP);
    const before = this.share[phase];
    if (took > most) this.share[phase] = Math.max(before * Math.max((0.8 * most) / took, 0.1), LEAST_SHARE[phase]);
    else if (took < least) this.share[phase] = Math.min(before * 1.5, all);
    if (this.share[phase] === before || phase !== (this.moving ? "moving" : "resting")) return;
    if (phase === "moving" || (this.share.resting > before && !this.local)) this.draw();
  }

  private draw(): void {
    const share = this.moving ? this.share.moving : this.share.resting;
    if (!this.moving) this.local = this.inView();
    const dark = this.appearance.look.dark;
    const [red, green, blue] = HIGHLIGHT[dark ? "dark" : "light"];
    const layers: Layer[] = [];
    const strips = this.moving || !this.local;
    if (this.showEdges && strips) {
      this.strips(this.atlas.loaded.edges, share, (start, length, visible) => {
        layers.push(
          new LineLayer({
            id: `edges-${start}`, visible, widthUnits: "pixels", getWidth: 1,
            data: { length, attributes: {
              getSourcePosition: this.part("from", start, 2),
              getTargetPosition: this.part("to", start, 2),
              getColor: this.part("edgeColour", start, 4),
            } },
          }),
        );
      });
    }
    layers.push(this.marked("marked-edges", this.highlight.edges, [red, green, blue, 150], 1.5));
    layers.push(this.marked("marked-path", this.highlight.strong, [red, green, blue, 255], 4));
    const models: Layer[] = [];
    if (strips) this.strips(this.atlas.loaded.models, share, (start, length, visible) => {
      models.push(
        new ScatterplotLayer({
          id: `models-${start}`, visible, radiusUnits: "common", radiusMinPixels: 0.9, radiusMaxPixels: 60, stroked: false,
          data: { length, attributes: {
            getPosition: this.part("position", start, 2),
            getRadius: this.part("radius", start, 1),
            getFillColor: this.part("colour", start, 4),
          } },
        }),
      );
    });
    // The most important ones lie on top.
    layers.push(...models.reverse());
    if (this.local && !(this.moving && this.share.moving < 1)) layers.push(...this.localLayers(this.local));
    if (this.highlight.model >= 0) {
      const { model } = this.highlight;
      layers.push(
        new ScatterplotLayer({
          id: "chosen", data: [model], stroked: true, filled: false, radiusUnits: "common", radiusMinPixels: 8,
          lineWidthUnits: "pixels", getLineWidth: 3, getLineColor: [red, green, blue, 255],
          getPosition: (at: number) => [this.atlas.models.x[at], this.atlas.models.y[at]],
          getRadius: (at: number) => this.appearance.radius[at] * 1.4,
        }),
      );
    }
    this.deck.setProps({ layers });
  }

  /** Models in view with their edges, unless there are too many. */
  private inView(): { models: number[]; edges: number[] } | undefined {
    if (!this.nearby || !this.edgesOf) return undefined;
    const [left, top] = this.unproject(0, 0);
    const [right, bottom] = this.unproject(this.stage.clientWidth, this.stage.clientHeight);
    const models = this.nearby.range(left, bottom, right, top);
    if (models.length > LOCAL) return undefined;
    const edges = new Set<number>();
    for (const model of models) for (const edge of this.edgesOf(model)) edges.add(edge);
    return { models: models.sort((a, b) => b - a), edges: [...edges] };
  }

  private localLayers({ models, edges }: { models: number[]; edges: number[] }): Layer[] {
    const { position, radius, colour, from, to, edgeColour } = this.appearance;
    const pick = (whole: Float32Array | Uint8Array, rows: number[], size: number) => {
      const value = new (whole.constructor as Float32ArrayConstructor)(rows.length * size);
      rows.forEach((row, at) => {
        for (let part = 0; part < size; part++) value[at * size + part] = whole[row * size + part];
      });
      return { value, size };
    };
    const made: Layer[] = [
      new ScatterplotLayer({
        id: "models-in-view", radiusUnits: "common", radiusMinPixels: 0.9, radiusMaxPixels: 60, stroked: false,
        data: { length: models.length, attributes: {
          getPosition: pick(position, models, 2), getRadius: pick(radius, models, 1), getFillColor: pick(colour, models, 4),
        } },
      }),
    ];
    if (!this.showEdges) return made;
    const lines = new LineLayer({
      id: "edges-in-view", widthUnits: "pixels", getWidth: 1,
      data: { length: edges.length, attributes: {
        getSourcePosition: pick(from, edges, 2), getTargetPosition: pick(to, edges, 2), getColor: pick(edgeColour, edges, 4),
      } },
    });
    return [lines, ...made];
  }

  private marked(id: string, edges: number[], colour: [number, number, number, number], width: number): Layer {
    const { from, to } = this.appearance;
    return new LineLayer<number>({
      id, data: edges, widthUnits: "pixels", getWidth: width, getColor: colour,
      getSourcePosition: (edge) => [from[2 * edge], from[2 * edge + 1]],
      getTargetPosition: (edge) => [to[2 * edge], to[2 * edge + 1]],
      updateTriggers: { getColor: colour },
    });
  }

  private strips(rows: number, share: number, made: (start: number, length: number, visible: boolean) => void): void {
    for (let start = 0, strip = 0; start < rows; start += STRIP, strip++) {
      const length = Math.min(STRIP, rows - start);
      made(start, Math.min(length, Math.ceil(Math.max(share - strip, 0) * STRIP)), strip < share);
    }
  }

  /** Part of an array; the same object as long as nothing changed, or it would be sent to the GPU again. */
  private part(name: "from" | "to" | "edgeColour" | "position" | "radius" | "colour", start: number, size: number): Wrapped {
    const key = `${name}-${start}`;
    const known = this.wrapped.get(key);
    if (known) return known;
    const made = { value: this.appearance[name].subarray(size * start, size * (start + STRIP)), size };
    this.wrapped.set(key, made);
    return made;
  }

  /** Names of the most important models in view, as far as they do not cover each other. */
  private name(): void {
    // Where even little takes long, names wait until the view rests.
    if (!this.showNames || (this.moving && this.share.moving < 1)) return this.labels.replaceChildren();
    const { clientWidth: width, clientHeight: height } = this.stage;
    const taken = new Set<string>();
    const made: HTMLElement[] = [];
    const ids = this.atlas.models.ids;
    const scale = 2 ** this.view.zoom;
    for (const model of this.candidates()) {
      if (made.length >= LABELS) break;
      const [left, top] = this.project(model);
      if (left < 0 || top < 0 || left > width || top > height || !this.appearance.isShown(model)) continue;
      const text = ids[model];
      const cells: string[] = [];
      for (let column = Math.floor(left / 60); column <= Math.floor((left + 6 * text.length) / 60); column++) {
        for (const row of [Math.floor(top / 16), Math.floor((top + 12) / 16)]) cells.push(`${column},${row}`);
      }
      if (cells.some((cell) => taken.has(cell))) continue;
      cells.forEach((cell) => taken.add(cell));
      const label = document.createElement("span");
      label.textContent = text.slice(0, 60);
      const beside = Math.min(this.appearance.radius[model] * scale, 60) + 3;
      label.style.transform = `translate(${Math.round(left + beside)}px, ${Math.round(top - 7)}px)`;
      made.push(label);
    }
    this.labels.replaceChildren(...made);
  }

  private candidates(): Iterable<number> {
    const [x0, y1] = this.unproject(0, 0);
    const [x1, y0] = this.unproject(this.stage.clientWidth, this.stage.clientHeight);
    const { least_x, greatest_x, least_y, greatest_y } = this.atlas.index;
    const share = ((x1 - x0) * (y1 - y0)) / Math.max((greatest_x - least_x) * (greatest_y - least_y), 1);
    if (this.nearby && share < 0.02) {
      return this.nearby.range(x0, y0, x1, y1).sort((a, b) => a - b).slice(0, 4 * LABELS);
    }
    return Array.from({ length: Math.min(this.atlas.loaded.models, 4_000) }, (_, at) => at);
  }

  private listen(chosen: (model: number) => void): void {
    const tip = document.createElement("div");
    tip.className = "tip panel";
    tip.hidden = true;
    this.stage.after(tip);
    let pressed: [number, number] = [0, 0];
    const place = (event: PointerEvent): [number, number] => {
      const { left, top } = this.stage.getBoundingClientRect();
      return [event.clientX - left, event.clientY - top];
    };
    this.stage.addEventListener("pointerdown", (event) => (pressed = place(event)), true);
    this.stage.addEventListener("pointerup", (event) => {
      const [left, top] = place(event);
      if (Math.hypot(left - pressed[0], top - pressed[1]) < 4) chosen(this.at(left, top));
    }, true);
    this.stage.addEventListener("pointermove", (event) => {
      const [left, top] = place(event);
      const model = event.buttons ? -1 : this.at(left, top);
      tip.hidden = model < 0;
      this.stage.style.cursor = model < 0 ? "" : "pointer";
      if (model < 0) return;
      tip.textContent = this.atlas.models.ids[model];
      tip.style.transform = `translate(${Math.min(left + 14, this.stage.clientWidth - 260)}px, ${top + 14}px)`;
    });
    this.stage.addEventListener("pointerleave", () => (tip.hidden = true));
    new ResizeObserver(() => this.name()).observe(this.stage);
  }
}
