/** Runs the networks beside the page, so that the page never waits for them. One thread: more need special headers. */
import { env, InferenceSession, Tensor } from "onnxruntime-web/wasm";
import type { Answer, Request } from "./engine";

env.wasm.numThreads = 1;
env.logLevel = "error";

const sessions = new Map<string, InferenceSession>();

async function answer(request: Request): Promise<Answer["outputs"]> {
  if (request.kind === "start") {
    env.wasm.wasmBinary = request.wasm;
    return {};
  }
  if (request.kind === "load") {
    sessions.set(request.name, await InferenceSession.create(request.model));
    return {};
  }
  const feeds: Record<string, Tensor> = {};
  for (const [name, { type, data, dims }] of Object.entries(request.feeds)) feeds[name] = new Tensor(type, data, dims);
  const results = await sessions.get(request.name)!.run(feeds);
  return Object.fromEntries(Object.entries(results).map(([name, tensor]) => [name, tensor.data as Float32Array]));
}

let last: Promise<unknown> = Promise.resolve();

self.onmessage = ({ data }: MessageEvent<Request>) => {
  last = last.then(async () => {
    try {
      self.postMessage({ id: data.id, outputs: await answer(data) } satisfies Answer);
    } catch (error) {
      self.postMessage({ id: data.id, error: String(error) } satisfies Answer);
    }
  });
};
