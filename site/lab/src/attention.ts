/** Who looks at whom, in a ViT: (layers, heads, T, T) numbers, of the T tokens that the model got. */

export interface Attention {
  weights: Float32Array;
  /** The tokens that the model got: 0 is [CLS], the others are patches. */
  kept: number[];
  layers: number;
  heads: number;
}

/** What one token gives to each of 64 patches in a layer, by one head or, if that is -1, on average. */
export function looks({ weights, kept, heads }: Attention, layer: number, head: number, looker: number): number[] {
  const row = Math.max(0, kept.indexOf(looker));
  const chosen = head < 0 ? Array.from({ length: heads }, (_, k) => k) : [head];
  const tokens = kept.length;
  const shares = new Array<number>(64).fill(0);
  for (const one of chosen) {
    const start = ((layer * heads + one) * tokens + row) * tokens;
    for (let k = 1; k < tokens; k++) shares[kept[k] - 1] += weights[start + k] / chosen.length;
  }
  return shares;
}

/** How much of each patch reaches a token through all layers (Abnar and Zuidema 2020), followed from the answer back. */
export function rollout({ weights, kept, layers, heads }: Attention, looker: number): number[] {
  const tokens = kept.length;
  let share = kept.map((token) => Number(token === (kept.includes(looker) ? looker : 0)));
  for (let layer = layers - 1; layer >= 0; layer--) {
    const before = share.map((one) => one / 2);
    for (let head = 0; head < heads; head++) {
      const start = (layer * heads + head) * tokens * tokens;
      for (let row = 0; row < tokens; row++) {
        const passed = share[row] / 2 / heads;
        for (let k = 0; k < tokens; k++) before[k] += passed * weights[start + row * tokens + k];
      }
    }
    share = before;
  }
  const shares = new Array<number>(64).fill(0);
  kept.forEach((token, k) => token && (shares[token - 1] = share[k]));
  return shares;
}
