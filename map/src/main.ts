/** The page: puts data, scene, search and panels together. */

import { Appearance } from "./appearance";
import { controls, showLegend } from "./controls";
import { Atlas, readIndex } from "./data";
import { byId, count, element, printable } from "./dom";
import { Graph } from "./graph";
import { describe } from "./panel";
import { Scene } from "./scene";
import { Search } from "./search";
import { literal, tabulate, type Selection } from "./table";

const HITS = 12;
const LISTED = 10_000;
const MARKED = 20_000;

async function start(): Promise<void> {
  const status = byId("status");
  const began = performance.now();
  const atlas = new Atlas(await readIndex());
  const { index } = atlas;
  const total = index.pieces.reduce((sum, piece) => sum + piece.edges, 0);
  const said = `${count(atlas.size)} models, ${count(total)} edges · ${index.snapshot ?? "no snapshot"} · release ${printable(index.version)}`;
  if (!atlas.size) {
    status.textContent = "This release holds no models.";
    return;
  }
  const appearance = new Appearance(atlas, {
    colour: "relation", size: "downloads", relations: new Set([0, ...index.relations.keys()].map((_, at) => at)),
    origins: new Set([1, 2]), leastConfidence: 0, until: Infinity, dark: matchMedia("(prefers-color-scheme: dark)").matches,
  });
  const search = new Search();
  let graph: Graph | undefined;
  const scene = new Scene(atlas, appearance, byId("stage"), byId("labels"), (model) => (model < 0 ? close() : goTo(model)));
  let wanted = 0;
  let chosen = -1;
  let unknown = "";
  const told = (shown: number) => {
    if (graph) status.textContent = `${unknown}${shown < atlas.size ? `${count(shown)} shown of ` : ""}${said}`;
  };
  const repaint = () => {
    cancelAnimationFrame(wanted);
    wanted = requestAnimationFrame(() => {
      const shown = appearance.paint();
      showLegend(appearance);
      scene.refresh();
      told(shown);
    });
  };
  controls(atlas, appearance, scene, repaint);
  let before = { ...atlas.loaded };
  await atlas.load(() => {
    appearance.place(before);
    appearance.paint(before);
    search.add(atlas.models.ids);
    before = { ...atlas.loaded };
    scene.refresh();
    if (before.pieces === 1) performance.measure("first piece", { start: began, end: performance.now() });
    status.textContent = `Loading ${count(atlas.loaded.models)} of ${count(atlas.size)} models…`;
  });
  graph = new Graph(atlas);
  const known = graph;
  scene.edgesOf = (model) => [...known.parents(model), ...known.children(model)];
  scene.indexPlaces();
  follow();
  told(atlas.size);
  repaint();
  addEventListener("hashchange", follow);
  listenToSearch();
  listenToKeys();
  performance.measure("all pieces", { start: began, end: performance.now() });
  Object.assign(globalThis, { atlasScene: scene });
  document.documentElement.dataset.ready = "true";

  /** Show the model that the address names. */
  function follow(): void {
    let id: string;
    try {
      id = decodeURIComponent(location.hash.slice(1));
    } catch {
      id = location.hash.slice(1);
    }
    const model = id ? search.exact(id, atlas.models.ids) : -1;
    unknown = id && model < 0 ? `There is no model ${printable(id.slice(0, 100))} in this release. ` : "";
    if (unknown) repaint();
    if (model >= 0 && model !== chosen) open(model);
  }

  function goTo(model: number): void {
    const hash = `#${atlas.models.ids[model].split("/").map(encodeURIComponent).join("/")}`;
    open(model);
    if (location.hash !== hash) location.hash = hash;
  }

  function open(model: number): void {
    if (!graph) return;
    chosen = model;
    scene.flyTo(model);
    const around = [...graph.edgesAbove(model), ...graph.edgesBelow(model).slice(0, MARKED)];
    scene.mark(model, around, graph.pathUp(model));
    describe(byId("details"), atlas, graph, model, { choose: goTo, list, close });
    byId("details").querySelector("h2")?.focus({ preventScroll: true });
  }

  function close(): void {
    byId("details").hidden = true;
    byId("table").hidden = true;
    scene.mark((chosen = -1), [], []);
    history.replaceState(null, "", location.pathname + location.search);
  }

  function list(kind: "ancestors" | "descendants" | "component", model: number): void {
    if (!graph) return;
    const id = atlas.models.ids[model];
    const { edges, models } = atlas;
    const ends = {
      ancestors: () => graph!.edgesAbove(model).map((edge) => edges.parent[edge]),
      descendants: () => graph!.edgesBelow(model).map((edge) => edges.child[edge]),
      component: () => [...models.component.keys()].filter((each) => models.component[each] === models.component[model]),
    }[kind]();
    const sql =
      kind === "component"
        ? `from atlas_models semi join (from release.positions where component_id = (select component_id from release.positions where model_id = ${literal(id)})) using (model_id)`
        : `from ${kind}(${literal(id)})`;
    const names = { ancestors: "Ancestors of", descendants: "Descendants of", component: "All connected with" };
    const sorted = [...new Set(ends)].sort((a, b) => a - b);
    table({ title: `${names[kind]} ${printable(id)}`, models: sorted, sql });
  }

  function table(selection: Selection): void {
    tabulate(byId("table"), atlas, selection, goTo);
  }

  function listenToSearch(): void {
    const input = byId<HTMLInputElement>("search");
    const hits = byId("hits");
    let found: number[] = [];
    let at = -1;
    const show = () => {
      hits.replaceChildren(
        ...found.slice(0, HITS).map((model, place) => {
          const item = element("li", { role: "option", id: `hit-${place}`, "aria-selected": String(place === at) }, printable(atlas.models.ids[model]));
          item.addEventListener("pointerdown", (event) => (event.preventDefault(), pick(place)));
          return item;
        }),
      );
      if (input.value.trim()) {
        const more = found.length >= LISTED ? `${count(LISTED)} or more` : count(found.length);
        hits.append(element("li", { class: "count", role: "presentation" }, `${more} found; Ctrl+Enter shows them as a table`));
      }
      hits.hidden = !input.value.trim();
      input.setAttribute("aria-expanded", String(!hits.hidden));
      if (at >= 0) input.setAttribute("aria-activedescendant", `hit-${at}`);
      else input.removeAttribute("aria-activedescendant");
    };
    const pick = (place: number) => {
      if (found[place] === undefined) return;
      hits.hidden = true;
      input.setAttribute("aria-expanded", "false");
      goTo(found[place]);
    };
    input.addEventListener("input", () => {
      found = search.find(input.value, LISTED);
      at = -1;
      show();
    });
    input.addEventListener("keydown", (event) => {
      if (event.key === "ArrowDown" || event.key === "ArrowUp") {
        const step = event.key === "ArrowDown" ? 1 : -1;
        at = Math.min(Math.max(at + step, 0), Math.min(found.length, HITS) - 1);
        show();
      } else if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
        hits.hidden = true;
        const text = input.value.trim();
        const sql = `from atlas_models where contains(lower(model_id), lower(${literal(text)})) order by downloads_30d desc nulls last`;
        table({ title: `Found: ${printable(text)}`, models: found, sql });
      } else if (event.key === "Enter") pick(Math.max(at, 0));
      else if (event.key === "Escape") hits.hidden = true;
      else return;
      event.preventDefault();
    });
    byId("controls").addEventListener("submit", (event) => event.preventDefault());
    byId("skip").addEventListener("click", (event) => (event.preventDefault(), input.focus()));
  }

  function listenToKeys(): void {
    const moves: Record<string, [number, number, number]> = {
      ArrowLeft: [-1, 0, 0], ArrowRight: [1, 0, 0], ArrowUp: [0, 1, 0], ArrowDown: [0, -1, 0],
      "+": [0, 0, 0.5], "=": [0, 0, 0.5], "-": [0, 0, -0.5],
    };
    addEventListener("keydown", (event) => {
      const typing = event.target instanceof HTMLElement && event.target.matches("input, select, textarea");
      if (typing || event.ctrlKey || event.metaKey || event.altKey) return;
      if (moves[event.key]) scene.move(...moves[event.key]);
      else if (event.key === "Home") scene.home();
      else if (event.key === "/") byId("search").focus();
      else if (event.key === "Escape") close();
      else return;
      event.preventDefault();
    });
  }
}

start().catch((error: Error) => {
  byId("status").textContent = error.message;
  console.error(error.message);
});
