/** The controls: colour, size, filters and legend. */

import { byId, day, element } from "./dom";
import { COLOURS, relationNames, SIZES, type Appearance, type Look } from "./appearance";
import type { Atlas } from "./data";
import type { Scene } from "./scene";

const GROW_SECONDS = 20;

export function controls(atlas: Atlas, appearance: Appearance, scene: Scene, repaint: () => void): void {
  const { look } = appearance;
  choice("colour", COLOURS, look.colour, (value) => (look.colour = value as Look["colour"]));
  choice("size", SIZES, look.size, (value) => (look.size = value as Look["size"]));
  checks("relations", relationNames(atlas), look.relations);
  checks("origins", ["", ...atlas.index.origins], look.origins);

  const sureness = byId<HTMLInputElement>("sureness");
  sureness.addEventListener("input", () => {
    look.leastConfidence = Number(sureness.value) / 100;
    byId("sureness-said").textContent = `${sureness.value} %`;
    repaint();
  });

  const until = byId<HTMLInputElement>("until");
  const { first_day, last_day } = atlas.index;
  Object.assign(until, { min: String(first_day), max: String(last_day), value: String(last_day) });
  const setUntil = (value: number) => {
    look.until = value;
    until.value = String(Math.round(value));
    byId("until-said").textContent = day(Math.round(value));
    until.setAttribute("aria-valuetext", day(Math.round(value)));
    repaint();
  };
  byId("until-said").textContent = day(last_day);
  until.addEventListener("input", () => setUntil(Number(until.value)));

  const play = byId<HTMLButtonElement>("play");
  let playing = 0;
  const stop = () => {
    cancelAnimationFrame(playing);
    playing = 0;
    play.textContent = "Let it grow";
  };
  play.addEventListener("click", () => {
    if (playing) return stop();
    play.textContent = "Stop";
    const from = look.until >= last_day ? first_day : look.until;
    const began = performance.now();
    const step = () => {
      const value = from + ((performance.now() - began) / 1000 / GROW_SECONDS) * (last_day - first_day);
      setUntil(Math.min(value, last_day));
      if (value < last_day) playing = requestAnimationFrame(step);
      else stop();
    };
    playing = requestAnimationFrame(step);
  });

  toggle("edges", (on) => (scene.showEdges = on));
  toggle("names", (on) => (scene.showNames = on));
  const theme = (dark: boolean) => {
    look.dark = dark;
    document.documentElement.dataset.theme = dark ? "dark" : "light";
    repaint();
  };
  byId("theme").addEventListener("click", () => theme(!look.dark));
  theme(look.dark);
  const fold = byId<HTMLButtonElement>("fold");
  fold.addEventListener("click", () => {
    const hidden = !byId("foldable").hidden;
    byId("foldable").hidden = hidden;
    fold.textContent = hidden ? "+" : "–";
    fold.setAttribute("aria-expanded", String(!hidden));
  });

  function choice(id: string, options: Record<string, string>, chosen: string, act: (value: string) => void): void {
    const select = byId<HTMLSelectElement>(id);
    select.append(...Object.entries(options).map(([value, text]) => element("option", { value }, text)));
    select.value = chosen;
    select.addEventListener("change", () => (act(select.value), repaint()));
  }

  function checks(id: string, names: string[], shown: Set<number>): void {
    names.forEach((name, code) => {
      if (!name) return;
      const box = element("input", { type: "checkbox", checked: "" });
      box.addEventListener("change", () => (box.checked ? shown.add(code) : shown.delete(code), repaint()));
      byId(id).append(element("label", {}, box, ` ${name}`));
    });
  }

  function toggle(id: string, act: (on: boolean) => void): void {
    const box = byId<HTMLInputElement>(id);
    box.addEventListener("change", () => (act(box.checked), scene.refresh()));
  }
}

export function showLegend(appearance: Appearance): void {
  const legend = byId("legend");
  const { entries, ramp } = appearance.legend();
  legend.classList.toggle("ramp", ramp !== undefined);
  legend.replaceChildren(
    ...entries.map(({ text, colour }) => {
      const swatch = element("span", { class: "swatch" });
      swatch.style.background = `rgb(${colour.join(" ")})`;
      return element("li", {}, swatch, text);
    }),
  );
  if (!ramp) return;
  const bar = element("span", { class: "bar" });
  bar.style.background = `linear-gradient(to right, ${ramp.colours.map((each) => `rgb(${each.join(" ")})`).join(", ")})`;
  legend.append(element("li", {}, bar, element("span", { class: "ends" }, element("span", {}, ramp.low), element("span", {}, ramp.high))));
}
