/** A selection of models as a table, and as the query that gives the same from the release. */

import { button, count, day, element, printable } from "./dom";
import { relationNames } from "./appearance";
import { license, percent, word } from "./panel";
import type { Atlas } from "./data";

const SHOWN = 200;

export interface Selection {
  title: string;
  models: number[];
  sql: string;
}

export function literal(text: string): string {
  return `'${text.replaceAll("'", "''")}'`;
}

export function tabulate(into: HTMLElement, atlas: Atlas, selection: Selection, choose: (model: number) => void): void {
  const { models, index } = atlas;
  const heads = ["Model", "Made by", "Sure", "License", "Task", "Created", "Downloads"];
  const body = selection.models.slice(0, SHOWN).map((model) =>
    element(
      "tr", {},
      element("td", {}, button(printable(models.ids[model]), () => choose(model), "link")),
      element("td", {}, relationNames(atlas)[models.relation[model]]),
      element("td", { class: "number" }, percent(models.confidence[model])),
      element("td", {}, license(atlas, model)),
      element("td", {}, word(index.words.pipeline_tag, models.task[model])),
      element("td", {}, day(models.created[model])),
      element("td", { class: "number" }, count(models.downloads[model])),
    ),
  );
  const sql = element("textarea", { readonly: "", rows: "2", "aria-label": "Query", spellcheck: "false" });
  sql.value = selection.sql;
  const copy = button("Copy as SQL", async () => {
    sql.select();
    try {
      await navigator.clipboard.writeText(selection.sql);
      copy.textContent = "Copied";
    } catch {
      copy.textContent = "Press Ctrl+C";
    }
  });
  const close = button("×", () => (into.hidden = true));
  close.setAttribute("aria-label", "Close the table");
  const more = selection.models.length > SHOWN ? `, the first ${SHOWN} shown` : "";
  into.replaceChildren(
    element("header", {}, element("h2", {}, `${selection.title} (${count(selection.models.length)}${more})`), copy, close),
    sql,
    element(
      "table", {},
      element("thead", {}, element("tr", {}, ...heads.map((head) => element("th", { scope: "col" }, head)))),
      element("tbody", {}, ...body),
    ),
  );
  into.hidden = false;
}
