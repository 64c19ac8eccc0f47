// Bundles the page of the map into atlas_pipeline/release/site: `npm ci && npm run build`.
import { createHash } from "node:crypto";
import { readFileSync, writeFileSync, copyFileSync, existsSync, readdirSync } from "node:fs";
import { build } from "esbuild";

const target = new URL("../atlas_pipeline/release/site/", import.meta.url).pathname;
// What the bundle was built from, so that one that is out of date is found without building it.
const digest = createHash("sha256");
for (const name of readdirSync("src").sort()) digest.update(readFileSync(`src/${name}`));
digest.update(readFileSync("package.json"));

const result = await build({
  entryPoints: ["src/main.ts"],
  outfile: `${target}map.js`,
  bundle: true,
  minify: true,
  format: "iife",
  target: "es2022",
  legalComments: "none",
  banner: { js: `// built from ${digest.digest("hex")}; licenses of its parts: licenses.txt` },
  metafile: true,
});
copyFileSync("src/index.html", `${target}index.html`);
copyFileSync("src/map.css", `${target}map.css`);

// The licenses of everything that went into the bundle.
const packages = new Set();
for (const [input, { bytesInOutput }] of Object.entries(Object.values(result.metafile.outputs)[0].inputs)) {
  const found = input.match(/^(.*node_modules\/(?:@[^/]+\/)?[^/]+)\//);
  if (found && bytesInOutput) packages.add(found[1]);
}
const texts = [...packages].sort().map((folder) => {
  const { name, version, license } = JSON.parse(readFileSync(`${folder}/package.json`, "utf8"));
  const file = readdirSync(folder).find((each) => /^licen[cs]e/i.test(each));
  const text = file && existsSync(`${folder}/${file}`) ? readFileSync(`${folder}/${file}`, "utf8").trim() : "";
  return `${name} ${version} (${license})\n\n${text}\n`;
});
writeFileSync(`${target}licenses.txt`, texts.join(`\n${"-".repeat(80)}\n\n`).replace(/\r/g, ""));
