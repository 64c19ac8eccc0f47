/** What is known of one model: facts, what it was made from and into, licenses on the way, evidence for every edge. */

import { button, count, day, element, printable } from "./dom";
import { relationNames } from "./appearance";
import type { Atlas } from "./data";
import type { Graph } from "./graph";

const SHOWN_CHILDREN = 20;

const RULES: Record<string, string> = {
  known: "as declared",
  duplicate: "equal weights",
  cast: "the same weights in another number format",
  pruned: "the parent's weights, some set to zero",
  quantized: "the parent's weights, quantised",
  adapter: "adapter made for the parent",
  merge: "weights are a combination of the parents'",
  ties: "weights are a TIES merge of the parents",
  nearest: "nearest older weights",
  snake: "nearest in a chain of versions",
  fan: "nearest among versions of one parent",
};

export interface Acts {
  choose: (model: number) => void;
  list: (kind: "ancestors" | "descendants" | "component", model: number) => void;
  close: () => void;
}

export function describe(into: HTMLElement, atlas: Atlas, graph: Graph, model: number, acts: Acts): void {
  const { models, index, edges } = atlas;
  const id = models.ids[model];
  const close = button("×", acts.close);
  close.setAttribute("aria-label", "Close");
  const facts: [string, string][] = [
    ["Made by", relationNames(atlas)[models.relation[model]]],
    ["License", license(atlas, model)],
    ["Task", word(index.words.pipeline_tag, models.task[model])],
    ["Created", day(models.created[model])],
    ["Downloads", `${count(models.downloads[model])} in 30 days`],
    ["Descendants", `${count(new Set(graph.edgesBelow(model).map((edge) => edges.child[edge])).size)}, of them ${count(models.descendants[model])} documented`],
  ];
  const parents = graph.parents(model);
  const children = graph.children(model);
  into.replaceChildren(
    element("header", {}, element("h2", { tabindex: "-1" }, printable(id)), close),
    element("p", { class: "soft" }, hubLink(id)),
    element("dl", {}, ...facts.flatMap(([name, value]) => [element("dt", {}, name), element("dd", {}, value)])),
    element("h3", {}, `Parents (${count(parents.length)})`),
    edgeList(parents, edges.parent),
    ...pathUp(),
    element("h3", {}, `Children (${count(children.length)})`),
    edgeList(children.slice(0, SHOWN_CHILDREN), edges.child),
    element(
      "p", {},
      children.length > SHOWN_CHILDREN ? `and ${count(children.length - SHOWN_CHILDREN)} more. ` : "",
      button("All descendants", () => acts.list("descendants", model)), " ",
      button("All ancestors", () => acts.list("ancestors", model)), " ",
      button("Everything connected", () => acts.list("component", model)),
    ),
  );
  into.hidden = false;

  function edgeList(numbers: number[], end: Int32Array): HTMLElement {
    if (!numbers.length) return element("p", { class: "soft" }, "None known.");
    const items = numbers.map((edge) =>
      element(
        "li", {},
        button(printable(models.ids[end[edge]]), () => acts.choose(end[edge]), "link"),
        element("div", { class: "soft" }, evidence(atlas, edge)),
      ),
    );
    return element("ul", {}, ...items);
  }

  function pathUp(): HTMLElement[] {
    const path = graph.pathUp(model);
    if (!path.length) return [];
    const steps = [model, ...path.map((edge) => edges.parent[edge])].reverse();
    const items = steps.map((step, at) => {
      const changed = at > 0 && models.license[step] !== models.license[steps[at - 1]];
      const name = step === model ? element("strong", {}, printable(id)) : button(printable(models.ids[step]), () => acts.choose(step), "link");
      const said = `${license(atlas, step)}${changed ? " (changed)" : ""}`;
      return element("li", {}, name, element("div", { class: changed ? "warn" : "soft" }, said));
    });
    return [element("h3", {}, "From the source, with licenses"), element("ol", { id: "path" }, ...items)];
  }
}

/** An edge's evidence in words. */
export function evidence(atlas: Atlas, edge: number): string {
  const { edges, index } = atlas;
  const rule = index.rules[edges.rule[edge] - 1] ?? "";
  const parts = [
    `${index.relations[edges.relation[edge] - 1]}, ${index.origins[edges.origin[edge] - 1]}, ${percent(edges.confidence[edge])} sure`,
    RULES[rule] ?? rule,
  ];
  if (edges.said[edge]) parts.push(`says: ${word(index.words.said, edges.said[edge])}`);
  if (!Number.isNaN(edges.coefficient[edge])) parts.push(`part ${edges.coefficient[edge].toPrecision(2)}`);
  if (!Number.isNaN(edges.distance[edge])) parts.push(`relative distance ${edges.distance[edge].toPrecision(2)}`);
  if (edges.candidates[edge]) parts.push(`${count(edges.candidates[edge])} other candidates`);
  if (edges.ambiguous[edge]) parts.push("others explain it as well");
  return parts.join(" · ");
}

export function license(atlas: Atlas, model: number): string {
  return word(atlas.index.words.license, atlas.models.license[model], "no license stated");
}

export function word(words: string[], code: number, otherwise = "unknown"): string {
  return code ? printable(words[code - 1]) : otherwise;
}

export function percent(share: number): string {
  return Number.isNaN(share) ? "" : `${Math.round(100 * share)} %`;
}

function hubLink(id: string): HTMLElement {
  const path = id.split("/").map(encodeURIComponent).join("/");
  return element("a", { href: `https://huggingface.co/${path}`, rel: "noopener noreferrer", target: "_blank" }, "On the Hub");
}
