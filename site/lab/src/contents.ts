/** What was exported beside the networks. */
import { file } from "./engine";
import type { Table } from "./sampler";

interface Settings {
  steps: number;
  guidance_scale: number;
  guidance_interval: [number, number | null];
}

export interface Language {
  garment: string[][];
  colour: string[][];
  direction: string[][];
  speed: string[][];
  motion: string[];
}

export interface Contents {
  garments: string[];
  organs: string[];
  volumes: number[];
  seeds: number;
  of_each: number;
  uvit: Settings & { scheduler: string; tables: Record<string, Record<string, Table>> };
  latte: Settings & {
    fps: number;
    most_tokens: number;
    tables: Record<string, Table>;
    vocabulary: [string, number][];
    languages: Record<string, Language>;
  };
}

export const contents = async () =>
  JSON.parse(new TextDecoder().decode(await file("contents.json"))) as Contents;

/** A file of numbers, cut into equal pieces. */
export async function pieces(name: string, kind: "bytes" | "floats", size: number): Promise<Float32Array[]> {
  const content = await file(name);
  const numbers = kind === "bytes" ? content : new Float32Array(content.buffer, content.byteOffset, content.length / 4);
  return Array.from({ length: numbers.length / size }, (_, k) => Float32Array.from(numbers.slice(k * size, (k + 1) * size)));
}

/** Whether a step is guided, where only some noise levels are. */
export const isGuided = ([low, high]: [number, number | null], level: number) => low <= level && level <= (high ?? Infinity);

export function softmax(logits: ArrayLike<number>): number[] {
  const most = Math.max(...Array.from(logits));
  const powers = Array.from(logits, (value) => Math.exp(value - most));
  const total = powers.reduce((sum, power) => sum + power, 0);
  return powers.map((power) => power / total);
}
