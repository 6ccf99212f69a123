// Bundles the page twice: OUT/site/lab/, a folder for a web server, and OUT/lab.html, one file that opens from a stick.
//   node build.js EXPORT MESSAGES OUT
// EXPORT is a folder of `python -m tutorial_utils export onnx`; MESSAGES a JSON file of the page's sentences by language.
import { build } from "esbuild";
import { mkdir, readFile, readdir, rm, writeFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { gzipSync } from "node:zlib";

const [exported, messages, out] = process.argv.slice(2);
const here = import.meta.dirname;
const options = { bundle: true, minify: true, write: false, target: "es2022", legalComments: "none", logLevel: "warning" };

const bundled = async (entry, more = {}) => {
  const made = await build({ ...options, entryPoints: [join(here, entry)], ...more });
  return made.outputFiles[0].text;
};

// The worker travels inside the page: a page from a stick may not load a second script, nor one that is a module. The
// runtime asks where it comes from, to fetch what it has been given already: any address will do, and none is fetched.
const worker = await bundled("src/worker.ts", {
  format: "iife",
  define: { "import.meta.url": JSON.stringify("https://lab.invalid/") },
});
const script = await bundled("src/main.tsx", {
  format: "iife",
  jsx: "automatic",
  jsxImportSource: "preact",
  define: { WORKER: JSON.stringify(worker), MESSAGES: await readFile(messages, "utf8") },
});
const style = await bundled("src/style.css");

const ort = dirname(createRequire(import.meta.url).resolve("onnxruntime-web"));
const assets = { "ort.wasm": await readFile(join(ort, "ort-wasm-simd-threaded.wasm")) };
for (const name of await readdir(exported)) {
  if (/\.(onnx|bin)$|^contents\.json$/.test(name)) assets[name] = await readFile(join(exported, name));
}
const packed = Object.fromEntries(Object.entries(assets).map(([name, bytes]) => [name, gzipSync(bytes, { level: 9 })]));
const sizes = Object.fromEntries(Object.entries(packed).map(([name, bytes]) => [name, bytes.length]));

const template = await readFile(join(here, "src/index.html"), "utf8");
const settings = (lessons) => JSON.stringify({ sizes, lessons });
const filled = (parts) => template.replace(/<!-- (\w+) -->/g, (_, name) => parts[name]);
const data = (id, type, text) => `<script id="${id}" type="${type}">${text}</script>`;
const policy = (connect) =>
  `<meta http-equiv="Content-Security-Policy" content="default-src 'none'; script-src 'self' 'unsafe-inline' 'wasm-unsafe-eval' blob:; ` +
  `worker-src blob:; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; connect-src ${connect}; base-uri 'none'; form-action 'none'">`;

const folder = join(out, "site", "lab");
await rm(folder, { recursive: true, force: true });
await mkdir(join(folder, "assets"), { recursive: true });
await writeFile(join(folder, "lab.js"), script);
await writeFile(join(folder, "lab.css"), style);
for (const [name, bytes] of Object.entries(packed)) await writeFile(join(folder, "assets", `${name}.gz`), bytes);
const apart = {
  policy: policy("'self'"),
  style: '<link rel="stylesheet" href="lab.css">',
  data: data("settings", "application/json", settings("../{language}/notebooks/{name}.html#cell-id={cell}")),
  script: '<script src="lab.js"></script>',
};
await writeFile(join(folder, "index.html"), filled(apart));

const inside = Object.entries(packed).map(([name, bytes]) => data(`asset-${name}`, "text/base64", bytes.toString("base64")));
const whole = {
  policy: policy("'none'"),
  style: `<style>${style}</style>`,
  data: [data("settings", "application/json", settings("{name}.html#cell-id={cell}")), ...inside].join("\n"),
  script: `<script>${script.replaceAll("</script", "<\\/script")}</script>`,
};
const page = filled(whole);
await writeFile(join(out, "lab.html"), page);
process.stdout.write(`${join(folder, "index.html")}\n${join(out, "lab.html")}: ${(page.length / 1e6).toFixed(1)} MB\n`);
