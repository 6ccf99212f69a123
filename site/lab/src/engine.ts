/** The networks as functions: `prepare` some of them, then `run` one. */
import { load, Obstacle, settings } from "./assets";

export type Feed =
  | { type: "float32"; data: Float32Array; dims: readonly number[] }
  | { type: "int64"; data: BigInt64Array; dims: readonly number[] };

type Order =
  | { kind: "start"; wasm: ArrayBuffer }
  | { kind: "load"; name: string; model: Uint8Array }
  | { kind: "run"; name: string; feeds: Record<string, Feed> };
export type Request = Order & { id: number };
export interface Answer {
  id: number;
  outputs?: Record<string, Float32Array>;
  error?: string;
}

let worker: Worker | undefined;
const waiting = new Map<number, { done: (outputs: Record<string, Float32Array>) => void; failed: (error: Error) => void }>();
let count = 0;

function ask(order: Order, transfer: Transferable[] = []): Promise<Record<string, Float32Array>> {
  const id = count++;
  return new Promise((done, failed) => {
    waiting.set(id, { done, failed });
    worker!.postMessage({ ...order, id }, transfer);
  });
}

function obstacleOf(error: string): Error {
  return /memory|allocat|RangeError|abort/i.test(error) ? new Obstacle("obstacle.memory") : new Error(error);
}

function employ(): Worker {
  const source = URL.createObjectURL(new Blob([WORKER], { type: "text/javascript" }));
  const made = new Worker(source);
  made.onmessage = ({ data }: MessageEvent<Answer>) => {
    const { done, failed } = waiting.get(data.id)!;
    waiting.delete(data.id);
    if (data.outputs) done(data.outputs);
    else failed(obstacleOf(data.error ?? ""));
  };
  made.onerror = (event) => {
    event.preventDefault();
    for (const { failed } of waiting.values()) failed(obstacleOf(event.message || "memory"));
    waiting.clear();
  };
  return made;
}

const files = new Map<string, Promise<Uint8Array>>();
const sessions = new Map<string, Promise<unknown>>();
const come = new Map<string, number>();

/** The content of a file, fetched once. */
export function file(name: string, tell: () => void = () => {}): Promise<Uint8Array> {
  if (!files.has(name)) {
    const content = load(name, (bytes) => {
      come.set(name, bytes);
      tell();
    });
    content.catch(() => files.delete(name)); // so that it can be tried again
    files.set(name, content);
  }
  return files.get(name)!;
}

function session(name: string, tell: () => void): Promise<unknown> {
  if (!sessions.has(name)) {
    const made = file(name === "" ? "ort.wasm" : `${name}.onnx`, tell).then((content) =>
      name === ""
        ? ask({ kind: "start", wasm: content.buffer as ArrayBuffer }, [content.buffer])
        : ask({ kind: "load", name, model: content }, [content.buffer]),
    );
    made.catch(() => sessions.delete(name));
    sessions.set(name, made);
  }
  return sessions.get(name)!;
}

/** Load networks and other files; `tell` is called with the share that has come, 0 to 1. */
export async function prepare(networks: string[], others: string[], tell: (share: number) => void): Promise<void> {
  if (typeof WebAssembly !== "object") throw new Obstacle("obstacle.wasm");
  worker ??= employ();
  const names = ["ort.wasm", ...networks.map((name) => `${name}.onnx`), ...others];
  const total = names.reduce((sum, name) => sum + settings.sizes[name], 0);
  const told = () => tell(names.reduce((sum, name) => sum + (come.get(name) ?? 0), 0) / total);
  told();
  for (const name of others) await file(name, told);
  for (const name of ["", ...networks]) await session(name, told);
  tell(1);
}

export const run = (name: string, feeds: Record<string, Feed>) => ask({ kind: "run", name, feeds });

export const floats = (data: ArrayLike<number>, ...dims: number[]): Feed => ({
  type: "float32",
  data: data instanceof Float32Array ? data : Float32Array.from(data),
  dims: dims.length ? dims : [data.length],
});

export const whole = (data: ArrayLike<number>, ...dims: number[]): Feed => ({
  type: "int64",
  data: BigInt64Array.from(Array.from(data, BigInt)),
  dims: dims.length ? dims : [data.length],
});
