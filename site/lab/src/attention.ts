/** Who looks at whom, in a ViT: (layers, heads, T, T) numbers, of the T tokens that the model got. */

export interface Attention {
  weights: Float32Array;
  /** The tokens that the model got: 0 is [CLS], the others are patches. */
  kept: number[];
  layers: number;
  heads: number;
}

/** Where a token looks, or who looks at it. */
export type Direction = "from" | "to";

export const ROLLOUT = -1;
export const MEAN = -1;

/** A layer's matrix, (T, T): of one head, or of all on average. */
function matrixOf({ weights, kept, heads }: Attention, layer: number, head: number): Float32Array {
  const size = kept.length ** 2;
  const of = (one: number) => weights.subarray((layer * heads + one) * size, (layer * heads + one + 1) * size);
  if (head !== MEAN) return of(head);
  const mean = new Float32Array(size);
  for (let one = 0; one < heads; one++) of(one).forEach((weight, k) => (mean[k] += weight / heads));
  return mean;
}

/** The product of a matrix and a vector; of its mirror image for `to`, which goes from the input to the answer. */
function passed(matrix: Float32Array, shares: Float32Array, direction: Direction): Float32Array {
  const tokens = shares.length;
  const next = new Float32Array(tokens);
  for (let row = 0; row < tokens; row++) {
    for (let column = 0; column < tokens; column++) {
      if (direction === "from") next[column] += shares[row] * matrix[row * tokens + column];
      else next[row] += shares[column] * matrix[row * tokens + column];
    }
  }
  return next;
}

/**
 * What one token gives to each of the 65, or gets from each: in a layer, or through all layers by rollout (Abnar and
 * Zuidema 2020), in which half of each token comes through the residual connection.
 */
export function looks(attention: Attention, layer: number, head: number, token: number, direction: Direction): number[] {
  const { kept, layers } = attention;
  let shares: Float32Array = Float32Array.from(kept, (one) => Number(one === (kept.includes(token) ? token : 0)));
  if (layer === ROLLOUT) {
    const order = Array.from({ length: layers }, (_, k) => (direction === "from" ? layers - 1 - k : k));
    for (const one of order) {
      const next = passed(matrixOf(attention, one, MEAN), shares, direction);
      shares = shares.map((share, k) => (share + next[k]) / 2);
    }
  } else shares = passed(matrixOf(attention, layer, head), shares, direction);
  const all = new Array<number>(65).fill(0);
  kept.forEach((one, k) => (all[one] = shares[k]));
  return all;
}
