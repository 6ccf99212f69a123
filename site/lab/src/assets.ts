/** The files of the page: out of the page itself, or from the folder beside it. */

interface Settings {
  sizes: Record<string, number>;
  lessons: string;
}

export const settings = JSON.parse(document.getElementById("settings")!.textContent) as Settings;

/** Bytes that have come so far. */
export type Tell = (bytes: number) => void;

const pause = () => new Promise((resolve) => setTimeout(resolve));

/** A problem that a visitor can do something about; its message is the key of a sentence. */
export class Obstacle extends Error {}

/** The content of a file, unpacked. */
export async function load(name: string, tell: Tell): Promise<Uint8Array> {
  if (!("DecompressionStream" in window)) throw new Obstacle("obstacle.old");
  const element = document.getElementById(`asset-${name}`);
  const packed = element ? await fromPage(element, tell) : await fromFolder(name, tell);
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
  const content = await new Response(stream).arrayBuffer();
  return new Uint8Array(content);
}

async function fromPage(element: HTMLElement, tell: Tell): Promise<Uint8Array<ArrayBuffer>> {
  const text = element.textContent;
  const packed = new Uint8Array((text.length / 4) * 3 - (/=*$/.exec(text)?.[0].length ?? 0));
  const step = 2 ** 20; // a multiple of four
  for (let start = 0; start < text.length; start += step) {
    const part = atob(text.slice(start, start + step));
    const at = (start / 4) * 3;
    for (let k = 0; k < part.length; k++) packed[at + k] = part.charCodeAt(k);
    tell(Math.min(packed.length, at + part.length));
    await pause(); // so that the progress can be drawn
  }
  element.remove(); // its text is as large again
  return packed;
}

async function fromFolder(name: string, tell: Tell): Promise<Uint8Array<ArrayBuffer>> {
  if (location.protocol === "file:") throw new Obstacle("obstacle.folder");
  const answer = await fetch(`assets/${name}.gz`).catch(() => undefined);
  if (!answer?.ok || !answer.body) throw new Obstacle("obstacle.fetch");
  const packed = new Uint8Array(settings.sizes[name]);
  const reader = answer.body.getReader();
  let come = 0;
  for (;;) {
    const { done, value } = await reader.read();
    if (done) break;
    if (come + value.length > packed.length) throw new Obstacle("obstacle.fetch");
    packed.set(value, come);
    come += value.length;
    tell(come);
  }
  if (come < packed.length) throw new Obstacle("obstacle.fetch");
  return packed;
}
