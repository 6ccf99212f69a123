/** A sentence as Latte-mini reads it: as `latte_words.read` and its Unigram tokenizer do. */

export interface Reading {
  ids: number[];
  /** What each token stands for, without the sign of a blank; a lone blank is "␣", and the end is empty. */
  tokens: string[];
  unknown: string[];
  ignored: string[];
}

export type Vocabulary = [piece: string, score: number][];

const BLANK = "▁";
const SPELLED = /^([a-z0-9]|<0x..>)$/;
const [END, NOTHING] = [1, 0];
const isSign = (sign: string) => !/[\p{L}\p{M}\p{N}]/u.test(sign);

/** Pieces of a text with the best sum of scores (Kudo 2018); what there is no piece for is spelled in bytes. */
function cut(text: string, scores: Map<string, number>, longest: number): string[] {
  const signs = [...text];
  const best: { score: number; from: number; piece: string }[] = [{ score: 0, from: -1, piece: "" }];
  for (let end = 1; end <= signs.length; end++) {
    best[end] = { score: -Infinity, from: end - 1, piece: "" };
    for (let from = Math.max(0, end - longest); from < end; from++) {
      const piece = signs.slice(from, end).join("");
      const score = best[from].score + (scores.get(piece) ?? (end - from === 1 ? -1000 : -Infinity));
      if (score > best[end].score) best[end] = { score, from, piece };
    }
  }
  const pieces: string[] = [];
  for (let end = signs.length; end > 0; end = best[end].from) pieces.unshift(best[end].piece);
  return pieces.flatMap((piece) =>
    scores.has(piece)
      ? [piece]
      : Array.from(new TextEncoder().encode(piece), (byte) => `<0x${byte.toString(16).toUpperCase().padStart(2, "0")}>`),
  );
}

export class Tokenizer {
  private readonly numbers = new Map<string, number>();
  private readonly scores = new Map<string, number>();
  private readonly longest: number;

  constructor(
    vocabulary: Vocabulary,
    private readonly most: number,
  ) {
    vocabulary.forEach(([piece, score], number) => {
      this.numbers.set(piece, number);
      if (number > 2) this.scores.set(piece, score);
    });
    this.longest = Math.max(...vocabulary.map(([piece]) => [...piece].length));
  }

  private pieces(text: string): string[] {
    const words = text.normalize("NFKC").toLowerCase().split(" ");
    return words.flatMap((word) => cut(BLANK + word, this.scores, this.longest));
  }

  /** Whether it has learned a word, or the pieces that it is made of. */
  private knows = (word: string) => !this.pieces(word).some((piece) => SPELLED.test(piece));

  /** The words of what was typed between two blanks, without signs that would hide them. */
  private words(typed: string): string[] {
    if (this.knows(typed)) return [typed];
    const parts: string[] = [];
    for (const sign of plain(typed)) {
      const last = parts.at(-1);
      if (last && isSign([...last][0]) === isSign(sign)) parts[parts.length - 1] += sign;
      else parts.push(sign);
    }
    const words: string[] = [];
    while (parts.length) {
      const count = [5, 3].find((many) => many <= parts.length && this.knows(parts.slice(0, many).join(""))) ?? 1;
      words.push(parts.splice(0, count).join(""));
    }
    const real = words.filter((word) => /[\p{L}\p{N}]/u.test(word));
    if (real.length && !real.some(this.knows)) return [trimmed(typed)]; // it is named as it was typed
    return real;
  }

  read(text: string): Reading {
    const typed = text.toLowerCase().trim().split(/\s+/).filter(Boolean);
    const words = typed.map((word) => this.words(word));
    const ignored = typed.flatMap((word, k) => lacking(word, words[k].join("")));
    const read = words.flat();
    const pieces = (read.length ? this.pieces(read.join(" ")) : []).slice(0, this.most - 1);
    return {
      ids: [...pieces.map((piece) => this.numbers.get(piece)!), END],
      tokens: [...pieces.map((piece) => piece.replace(BLANK, "") || "␣"), ""],
      unknown: [...new Set(read.filter((word) => !this.knows(word)))],
      ignored: [...new Set(ignored)],
    };
  }

  /** The empty sentence beside one of so many tokens: it is filled up. */
  static empty = (tokens: number) => [END, ...new Array<number>(tokens - 1).fill(NOTHING)];
}

/** Without what cannot be seen, full-width letters as the usual ones, and all dashes as a hyphen. */
function plain(typed: string): string {
  const folded = [...typed]
    .filter((sign) => !/[\p{Cc}\p{Cf}]/u.test(sign))
    .map((sign) => (isSign(sign) ? (/\p{Pd}/u.test(sign) ? "-" : sign) : sign.normalize("NFKC")));
  return folded.join("").normalize("NFC").toLowerCase();
}

function trimmed(typed: string): string {
  const signs = [...typed];
  while (signs.length && isSign(signs[0])) signs.shift();
  while (signs.length && isSign(signs.at(-1)!)) signs.pop();
  return signs.join("");
}

/** The signs of a word that are not in what is read of it. */
function lacking(typed: string, read: string): string[] {
  const count = (text: string, sign: string) => text.split(sign).length - 1;
  return [...new Set(typed)].filter((sign) => /[\p{P}\p{S}]/u.test(sign) && count(plain(read), plain(sign)) < count(plain(typed), plain(sign)));
}
