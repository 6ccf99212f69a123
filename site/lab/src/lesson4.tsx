/** Clips from sentences: two with one thing different, and the words that their frames read. */
import { useEffect, useMemo, useState } from "preact/hooks";
import { contents, isGuided, pieces, type Contents } from "./contents";
import { floats, run, whole } from "./engine";
import { decode } from "./lesson3";
import { guided, sample } from "./sampler";
import { Tokenizer, type Reading } from "./tokenizer";
import { Choice, Dial, isCalm, Panel, percent, Picture, Predict, Toggle, Trouble, useLatest, useLoaded, type Place } from "./ui";
import { useSay } from "./words";

const LESSON = "04_latte_video_generation";
const PLACES: Place[] = [
  ["4.place.text", LESSON, "33abb2be"],
  ["4.place.attention", LESSON, "5f8aa2f6"],
  ["4.place.guidance", LESSON, "22149950"],
  ["4.place.time", LESSON, "10458c92"],
  ["4.place.words", LESSON, "492c2916"],
];
const [CHANNELS, FRAMES, LATENT, PIXELS, PLACES_IN_FRAME, WIDTH, LAYERS] = [4, 8, 8, 64, 16, 128, 4];
const GUIDANCE = [0, 1, 1.5, 2, 3, 6, 12];

interface Choices {
  sentence: string;
  guidance: number;
  steps: number;
  seed: number;
  temporal: boolean;
}
type Apart = "sentence" | "temporal" | "guidance" | "seed";

interface Known extends Contents {
  noises: Float32Array[];
  tokenizer: Tokenizer;
}

interface Clip {
  reading: Reading;
  /** 8 pictures of 3 planes. */
  frames: Float32Array[];
  /** For each step (layers, frames, places, tokens): how much a place reads of a token. */
  looks: Float32Array[];
}

export const Lesson4 = ({ active }: { active: boolean }) => (
  <Panel number={4} networks={["words", "latte", "decoder"]} files={["noise-latte.bin"]} places={PLACES}>
    {() => <Bench active={active} />}
  </Panel>
);

async function embed(ids: number[], real: number): Promise<Float32Array> {
  const mask = ids.map((_, k) => Number(k < real));
  const { words } = await run("words", { ids: whole(ids, 1, ids.length), real: whole(mask, 1, ids.length) });
  return words;
}

/** A clip, step by step; nothing if it is no longer wanted. */
export async function makeClip(known: Known, choices: Choices, tell: (step: number) => void, isOld: () => boolean): Promise<Clip | undefined> {
  const { latte, tokenizer, noises } = known;
  const reading = tokenizer.read(choices.sentence);
  const count = reading.ids.length;
  const [given, empty] = [await embed(reading.ids, count), await embed(Tokenizer.empty(count), 1)];
  const looks: Float32Array[] = [];
  const network = async (x: Float32Array, time: number, level: number) => {
    const isPair = choices.guidance !== 1 && (choices.guidance === 0 || isGuided(latte.guidance_interval, level));
    const [clips, words] = [isPair ? [x, x] : [x], isPair ? [given, empty] : [given]];
    const join = (parts: Float32Array[]) => Float32Array.from(parts.flatMap((part) => [...part]));
    const { velocity, reading: read } = await run("latte", {
      x: floats(join(clips), clips.length, CHANNELS, FRAMES, LATENT, LATENT),
      times: floats(clips.map(() => time)),
      words: floats(join(words), clips.length, count, WIDTH),
      temporal: floats([Number(choices.temporal)]),
    });
    looks.push(read);
    return isPair ? guided(velocity, choices.guidance) : velocity;
  };
  const steps = sample(latte.tables[choices.steps], noises[choices.seed], "velocity", network);
  for (;;) {
    const step = await steps.next();
    if (isOld()) return undefined;
    if (step.done) {
      const size = LATENT * LATENT; // (channels, frames, ...) to a latent for each frame
      const latents = Array.from({ length: FRAMES }, (_, frame) =>
        Float32Array.from({ length: CHANNELS * size }, (_, k) => step.value[(Math.floor(k / size) * FRAMES + frame) * size + (k % size)]),
      );
      return { reading, frames: await decode(latents), looks };
    }
    tell(looks.length);
  }
}

function Bench({ active }: { active: boolean }) {
  const say = useSay();
  const known = useLoaded(async (): Promise<Known> => {
    const all = await contents();
    const noises = await pieces("noise-latte.bin", "floats", CHANNELS * FRAMES * LATENT * LATENT);
    return { ...all, noises, tokenizer: new Tokenizer(all.latte.vocabulary, all.latte.most_tokens) };
  });
  const [left, setLeft] = useState<Choices>();
  const [apart, setApart] = useState<Apart>("sentence");
  const [right, setRight] = useState<{ sentence?: string; guidance: number; seed: number }>({ guidance: 12, seed: 1 });
  const [frame, setFrame] = useState(0);
  const [isPlaying, setPlaying] = useState(!isCalm());
  const [layer, setLayer] = useState(2);
  const [step, setStep] = useState(0.5);
  const fps = known?.latte.fps ?? 8;
  useEffect(() => {
    if (!active || !isPlaying) return;
    const timer = setInterval(() => setFrame((now) => (now + 1) % FRAMES), 1000 / fps);
    return () => clearInterval(timer);
  }, [active, isPlaying, fps]);
  if (!known) return <p class="quiet">{say("computing")}</p>;
  const { guidance_scale: guidance, steps, tables } = known.latte;
  const base = left ?? { sentence: say("4.first"), guidance, steps, seed: 0, temporal: true };
  const others: Choices = { ...base, sentence: say("4.second"), ...right, temporal: !base.temporal };
  const other: Choices = { ...base, [apart]: others[apart] };
  const shared = { known, frame, layer, step };
  const seeds = known.noises.map((_, k) => k);
  const asGuidance = (value: number) => (value === 1 ? say("3.unguided") : value ? String(value) : say("4.wordless"));
  return (
    <>
      <Predict number={4} answers={3} right={1} see={() => setApart("temporal")} />
      <div class="bench two">
        <section class="card" aria-label={say("4.left")}>
          <h3>{say("4.left")}</h3>
          <Player {...shared} choices={base} />
          <div class="saying">
            <Sentence label={say("4.sentence")} value={base.sentence} change={(sentence) => setLeft({ ...base, sentence })} />
            <div class="actions chips">
              {[0, 1, 2, 3].map((k) => (
                <button key={k} onClick={() => setLeft({ ...base, sentence: say(`4.example.${k}`) })}>
                  {say(`4.example.${k}`)}
                </button>
              ))}
            </div>
          </div>
        </section>
        <section class="card" aria-label={say("4.right")}>
          <h3>{say("4.right")}</h3>
          <Player {...shared} choices={other} />
          <div class="dials different">
            <Choice
              label={say("3.different")}
              options={(["sentence", "temporal", "guidance", "seed"] as const).map((name) => [name, say(`4.${name}`)])}
              value={apart}
              change={setApart}
            />
            {apart === "sentence" && <Sentence label={say("4.sentence")} value={others.sentence} change={(sentence) => setRight({ ...right, sentence })} />}
            {apart === "guidance" && (
              <Dial label={say("3.guidance")} values={GUIDANCE} value={right.guidance} change={(value) => setRight({ ...right, guidance: value })} format={asGuidance} />
            )}
            {apart === "seed" && <Dial label={say("3.seed")} values={seeds} value={right.seed} change={(seed) => setRight({ ...right, seed })} />}
            {apart === "temporal" && <p class="quiet">{say(other.temporal ? "4.temporal.on" : "4.temporal.off")}</p>}
          </div>
        </section>
      </div>
      <section class="card wide" aria-label={say("4.both")}>
        <h3>{say("4.both")}</h3>
        <div class="dials">
          <div class="play">
            <button onClick={() => setPlaying(!isPlaying)}>{say(isPlaying ? "4.pause" : "4.play")}</button>
            <Dial
              label={say("4.frame")}
              values={Array.from({ length: FRAMES }, (_, k) => k)}
              value={frame}
              change={(value) => {
                setPlaying(false);
                setFrame(value);
              }}
              format={(value) => String(value + 1)}
            />
          </div>
          <Dial label={say("3.guidance")} values={GUIDANCE} value={base.guidance} change={(value) => setLeft({ ...base, guidance: value })} format={asGuidance} />
          <Dial label={say("3.steps")} values={Object.keys(tables).map(Number)} value={base.steps} change={(value) => setLeft({ ...base, steps: value })} />
          <Dial label={say("3.seed")} values={seeds} value={base.seed} change={(seed) => setLeft({ ...base, seed })} />
          <Toggle label={say("4.temporal")} on={base.temporal} change={(temporal) => setLeft({ ...base, temporal })} />
          <Dial label={say("4.layer")} values={[0, 1, 2, 3]} value={layer} change={setLayer} format={(value) => `${value + 1} / ${LAYERS}`} />
          <Dial label={say("4.moment")} values={[0, 0.25, 0.5, 0.75, 1]} value={step} change={setStep} format={(value) => percent(value)} />
        </div>
      </section>
      <Vocabulary known={known} />
    </>
  );
}

/** A line to type in, taken with Enter or when it is left. */
function Sentence({ label, value, change }: { label: string; value: string; change: (sentence: string) => void }) {
  const say = useSay();
  const [draft, setDraft] = useState(value);
  useEffect(() => setDraft(value), [value]);
  return (
    <form
      class="sentence"
      onSubmit={(event) => {
        event.preventDefault();
        change(draft);
      }}
    >
      <label>
        <span>{label}</span>
        <input type="text" maxLength={200} value={draft} onInput={(event) => setDraft(event.currentTarget.value)} onBlur={() => change(draft)} autocomplete="off" spellcheck={false} />
      </label>
      <button>{say("4.make")}</button>
    </form>
  );
}

interface PlayerProps {
  known: Known;
  choices: Choices;
  frame: number;
  layer: number;
  /** From 0 to 1: at which step of the sampling words are read. */
  step: number;
}

/** A clip that plays, over words that light up where its frames read them. */
function Player({ known, choices, frame, layer, step }: PlayerProps) {
  const say = useSay();
  const [clip, setClip] = useState<Clip>();
  const [done, setDone] = useState(0);
  const [word, setWord] = useState<number>();
  const [place, setPlace] = useState<number>();
  const { busy, problem } = useLatest(
    async (isOld) => {
      setDone(0);
      const made = await makeClip(known, choices, setDone, isOld);
      if (!made) return;
      setWord(undefined);
      setPlace(undefined);
      setClip(made);
    },
    [JSON.stringify(choices)],
  );
  const shares = useMemo(() => clip && read(clip, frame, layer, step), [clip, frame, layer, step]);
  if (problem) return <Trouble problem={problem} />;
  if (!clip || !shares)
    return (
      <>
        <div class="result">
          <div class="picture empty" />
        </div>
        <p class="quiet">{say("3.step", { step: done, steps: choices.steps })}</p>
      </>
    );
  const { tokens, unknown, ignored } = clip.reading;
  const ofWord = word === undefined ? undefined : shares.map((row) => row[word]);
  const most = Math.max(...(ofWord ?? [1]));
  const lit = place === undefined ? inGarment(clip.frames[frame], shares) : shares[place];
  const brightest = Math.max(...lit.slice(0, -1), 1e-9); // of the words: the end takes what nobody needs
  return (
    <div class="film" aria-busy={busy}>
      <div class={`result ${busy ? "old" : ""}`}>
        <div class="cells clip" style={{ "--side": 4 }} onPointerLeave={() => setPlace(undefined)}>
          <Picture values={clip.frames[frame]} width={PIXELS} height={PIXELS} label={say("4.clip", { sentence: choices.sentence })} />
          {shares.map((_, k) => (
            <span key={k} aria-hidden="true" class={k === place ? "marked" : ""} style={{ "--heat": ofWord ? ofWord[k] / most : 0 }} onPointerEnter={() => setPlace(k)} onPointerDown={() => setPlace(k)} />
          ))}
        </div>
      </div>
      <p class={`quiet ${busy ? "" : "done"}`} aria-live={busy ? "off" : "polite"}>
        {busy ? say("3.step", { step: done, steps: choices.steps }) : ofWord ? say("4.word", { word: tokens[word!] || say("4.end"), most: percent(most) }) : say(place === undefined ? "4.lit" : "4.place")}
      </p>
      <div class="said-words" role="group" aria-label={say("4.words")}>
        {tokens.map((token, k) => (
          <button key={k} class={token && token !== "␣" ? "" : "end"} aria-pressed={word === k} style={{ "--lit": Math.min(1, lit[k] / brightest) }} onClick={() => setWord(word === k ? undefined : k)}>
            {token || say("4.end")} <small>{percent(lit[k])}</small>
          </button>
        ))}
      </div>
      {(unknown.length > 0 || ignored.length > 0) && (
        <p class="mistake" role="status">
          {unknown.length > 0 && say("4.unknown", { words: unknown.join(", ") })} {ignored.length > 0 && say("4.ignored", { signs: ignored.join(" ") })}
        </p>
      )}
    </div>
  );
}

/** For each place of a frame, how much it reads of each token. */
function read({ looks, reading }: Clip, frame: number, layer: number, step: number): number[][] {
  const at = looks[Math.round(step * (looks.length - 1))];
  const tokens = reading.ids.length;
  return Array.from({ length: PLACES_IN_FRAME }, (_, place) => {
    const start = ((layer * FRAMES + frame) * PLACES_IN_FRAME + place) * tokens;
    return Array.from(at.slice(start, start + tokens));
  });
}

/** What the places of a frame read on average, each counted by how bright the frame is there. */
function inGarment(picture: Float32Array, shares: number[][]): number[] {
  const bright = new Array<number>(PLACES_IN_FRAME).fill(1e-6);
  const size = PIXELS * PIXELS;
  for (let k = 0; k < size; k++) {
    const place = Math.floor(k / PIXELS / 16) * 4 + Math.floor((k % PIXELS) / 16);
    bright[place] += picture[k] + picture[size + k] + picture[2 * size + k];
  }
  const total = bright.reduce((sum, value) => sum + value, 0);
  return shares[0].map((_, token) => shares.reduce((sum, row, place) => sum + (row[token] * bright[place]) / total, 0));
}

function Vocabulary({ known }: { known: Known }) {
  const say = useSay();
  return (
    <details class="card wide">
      <summary>{say("4.vocabulary")}</summary>
      {Object.entries(known.latte.languages).map(([code, language]) => (
        <dl key={code} lang={code}>
          {(["garment", "colour", "direction", "speed"] as const).map((part) => (
            <div key={part}>
              <dt>{say(`4.${part}`)}</dt>
              <dd>{language[part].flat().filter(Boolean).join(", ")}</dd>
            </div>
          ))}
          <div>
            <dt>{say("4.motion")}</dt>
            <dd>{language.motion.map((one) => one.replace("{}", "…")).join(", ")}</dd>
          </div>
        </dl>
      ))}
    </details>
  );
}
