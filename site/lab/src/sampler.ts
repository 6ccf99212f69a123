/** One loop for garments and clips: what it takes of a scheduler is a table of numbers (see tutorial_utils.web.schedules). */

export interface Table {
  times: number[];
  signal: number[];
  noise: number[];
  rows: number[][];
}

export interface Step {
  /** The network's input, and the clean latent that its answer implies. */
  noisy: Float32Array;
  clean: Float32Array;
}

/** The network's answer to a latent at a time; `level` is the noise in multiples of the signal. */
export type Network = (x: Float32Array, time: number, level: number) => Promise<Float32Array>;

const sum = (shares: number[], parts: Float32Array[]) =>
  parts[0].map((_, k) => shares.reduce((all, share, j) => all + share * parts[j][k], 0));

/** From noise to a latent, a step at a time; the result is what the generator returns. */
export async function* sample(
  table: Table,
  start: Float32Array,
  predicts: "noise" | "velocity",
  network: Network,
): AsyncGenerator<Step, Float32Array> {
  const past = [start];
  for (const [step, time] of table.times.entries()) {
    const [signal, noise] = [table.signal[step], table.noise[step]];
    const noisy = sum(table.rows[step], past);
    const output = await network(noisy, time, signal ? noise / signal : Infinity);
    past.push(output);
    const clean = noisy.map((x, k) =>
      predicts === "noise" ? (x - noise * output[k]) / signal : signal * x - noise * output[k],
    );
    yield { noisy, clean };
  }
  return sum(table.rows[table.times.length], past);
}

/** Guidance: from the answer without the class, `scale` times the way to the one with it. */
export const guided = (both: Float32Array, scale: number): Float32Array => {
  const half = both.length / 2;
  return both.slice(0, half).map((given, k) => both[half + k] + scale * (given - both[half + k]));
};
