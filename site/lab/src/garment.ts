/** A picture of any kind in the manner of Fashion-MNIST: grey, 28 by 28, the garment bright on black. */

export const SIDE = 28;
const LARGEST = 512;

/** As `images.as_garment`: grey, stretched to all of black to white, inverted if its border is bright, square. */
export async function asGarment(source: Blob): Promise<Float32Array> {
  const picture = await createImageBitmap(source);
  const scale = Math.min(1, LARGEST / Math.max(picture.width, picture.height));
  const [width, height] = [picture.width, picture.height].map((side) => Math.max(1, Math.round(side * scale)));
  const canvas = new OffscreenCanvas(width, height);
  const context = canvas.getContext("2d")!;
  context.fillStyle = "white"; // what is transparent becomes white
  context.fillRect(0, 0, width, height);
  context.drawImage(picture, 0, 0, width, height);
  const { data } = context.getImageData(0, 0, width, height);
  const grey = Float32Array.from({ length: width * height }, (_, k) =>
    0.299 * data[4 * k] + 0.587 * data[4 * k + 1] + 0.114 * data[4 * k + 2],
  );
  return fitted(stretched(grey, width, height), width, height);
}

function stretched(grey: Float32Array, width: number, height: number): Float32Array {
  const [low, high] = grey.reduce(([least, most], value) => [Math.min(least, value), Math.max(most, value)], [255, 0]);
  const full = grey.map((value) => (high > low ? (255 * (value - low)) / (high - low) : value));
  const border = full
    .filter((_, k) => k < width || k >= width * (height - 1) || k % width === 0 || k % width === width - 1)
    .sort();
  return border[border.length >> 1] > 127 ? full.map((value) => 255 - value) : full;
}

/** Put in the middle of a black square and made small: each pixel is the mean of what it covers. */
export function fitted(grey: Float32Array, width: number, height: number): Float32Array {
  const side = Math.max(width, height);
  const [left, top] = [(side - width) / 2, (side - height) / 2].map(Math.floor);
  const at = (x: number, y: number) =>
    x >= left && x < left + width && y >= top && y < top + height ? grey[(y - top) * width + x - left] : 0;
  const small = new Float32Array(SIDE * SIDE);
  const step = side / SIDE;
  for (let row = 0; row < SIDE; row++) {
    for (let column = 0; column < SIDE; column++) {
      const [y0, x0] = [row * step, column * step].map(Math.floor);
      const [y1, x1] = [(row + 1) * step, (column + 1) * step].map((end, k) => Math.max(Math.ceil(end), [y0, x0][k] + 1));
      let total = 0;
      for (let y = y0; y < y1; y++) for (let x = x0; x < x1; x++) total += at(Math.min(x, side - 1), Math.min(y, side - 1));
      small[row * SIDE + column] = Math.round(total / ((y1 - y0) * (x1 - x0)));
    }
  }
  return small;
}

/** A dab of a soft brush at a place in pixels, or of black, which wipes out. */
export function dabbed(pixels: Float32Array, x: number, y: number, radius: number, value: number): Float32Array {
  return pixels.map((old, k) => {
    const distance = Math.hypot((k % SIDE) + 0.5 - x, Math.floor(k / SIDE) + 0.5 - y);
    const cover = Math.min(1, Math.max(0, radius + 0.5 - distance));
    return value > 0 ? Math.max(old, value * cover) : old * (1 - cover);
  });
}
