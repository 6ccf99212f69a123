/** Garments from noise: two panels with one dial different, each with the film of its steps. */
import { useState } from "preact/hooks";
import { contents, isGuided, pieces, softmax, type Contents } from "./contents";
import { floats, run, whole } from "./engine";
import { fitted, SIDE } from "./garment";
import { guided, sample } from "./sampler";
import { Choice, Dial, Panel, percent, Picture, Predict, Toggle, Trouble, useLatest, useLoaded, type Place } from "./ui";
import { useSay } from "./words";

const LESSON = "03_uvit_sampling";
const PLACES: Place[] = [
  ["3.place.skips", LESSON, "787b17e3"],
  ["3.place.steps", LESSON, "22010cf6"],
  ["3.place.guidance", LESSON, "387580cd"],
  ["3.place.schedulers", LESSON, "4ae4005c"],
  ["3.place.dials", LESSON, "dfe4f839"],
];
const NO_CLASS = 10;
const [CHANNELS, LATENT, PIXELS] = [4, 8, 64];
const GUIDANCE = [0, 1, 1.5, 2, 4, 8];

export interface Dials {
  garment: number;
  guidance: number;
  steps: number;
  scheduler: string;
  seed: number;
  /** Which long skips are on, the innermost first. */
  skips: boolean[];
}

export const Lesson3 = () => (
  <Panel number={3} networks={["uvit", "decoder", "vit"]} files={["noise-uvit.bin"]} places={PLACES}>
    {() => <Bench />}
  </Panel>
);

interface Known extends Contents {
  noises: Float32Array[];
}

/** Latents of N samples as pictures of N times 3 planes of 64 by 64 pixels. */
export async function decode(latents: Float32Array[]): Promise<Float32Array[]> {
  const together = new Float32Array(latents.length * latents[0].length);
  latents.forEach((latent, k) => together.set(latent, k * latent.length));
  const { images } = await run("decoder", { latents: floats(together, latents.length, CHANNELS, LATENT, LATENT) });
  const size = images.length / latents.length;
  return latents.map((_, k) => images.slice(k * size, (k + 1) * size));
}

/** U-ViT-mini as the sampler calls it. */
export function network({ uvit }: Contents, { garment, guidance, skips }: Dials) {
  const interval: [number, number | null] = guidance ? uvit.guidance_interval : [0, null]; // without a class: everywhere
  return async (x: Float32Array, time: number, level: number) => {
    const labels = guidance !== 1 && isGuided(interval, level) ? [garment, NO_CLASS] : [garment];
    const together = new Float32Array(labels.length * x.length);
    labels.forEach((_, k) => together.set(x, k * x.length));
    const { noise } = await run("uvit", {
      x: floats(together, labels.length, CHANNELS, LATENT, LATENT),
      times: floats(labels.map(() => time)),
      labels: whole(labels),
      skips: floats(skips.map(Number)),
    });
    return labels.length > 1 ? guided(noise, guidance) : noise;
  };
}

function Bench() {
  const say = useSay();
  const known = useLoaded(async (): Promise<Known> => ({
    ...(await contents()),
    noises: await pieces("noise-uvit.bin", "floats", CHANNELS * LATENT * LATENT),
  }));
  const [left, setLeft] = useState<Dials>();
  const [dial, setDial] = useState<keyof Dials>("guidance");
  const [other, setOther] = useState<Dials>();
  if (!known) return <p class="quiet">{say("computing")}</p>;
  const { guidance_scale: guidance, steps, scheduler } = known.uvit;
  const start: Dials = { garment: 7, guidance, steps, scheduler, seed: 4, skips: [true, true, true] };
  const base = left ?? start;
  const apart = other ?? { ...start, guidance: 8 };
  const right = { ...base, [dial]: apart[dial] };
  const compare = (which: keyof Dials, value: Dials[keyof Dials]) => {
    setDial(which);
    setOther({ ...apart, [which]: value });
  };
  const usual: Dials = { garment: 9, guidance: 8, steps: 4, scheduler: "ddim", seed: 2, skips: [true, true, false] };
  const names: [keyof Dials, string][] = (["guidance", "garment", "seed", "steps", "scheduler", "skips"] as const).map((name) => [
    name,
    say(`3.${name}`),
  ]);
  return (
    <>
      <Predict number={3} answers={3} right={2} see={() => compare("skips", [true, true, false])} />
      <div class="bench two">
        <section class="card" aria-label={say("3.left")}>
          <h3>{say("3.left")}</h3>
          <Film known={known} dials={base} />
          <div class="dials">
            {names.map(([name]) => (
              <Setting key={name} which={name} dials={base} known={known} change={setLeft} />
            ))}
          </div>
        </section>
        <section class="card" aria-label={say("3.right")}>
          <h3>{say("3.right")}</h3>
          <Film known={known} dials={right} />
          <div class="dials different">
            <Choice
              label={say("3.different")}
              options={names}
              value={dial}
              change={(which) => compare(which, JSON.stringify(base[which]) === JSON.stringify(apart[which]) ? usual[which] : apart[which])}
            />
            <Setting which={dial} dials={right} known={known} change={(dials) => compare(dial, dials[dial])} />
          </div>
        </section>
      </div>
    </>
  );
}

interface SettingProps {
  which: keyof Dials;
  dials: Dials;
  known: Known;
  change: (dials: Dials) => void;
}

/** The control of one dial. */
function Setting({ which, dials, known, change }: SettingProps) {
  const say = useSay();
  const set = (value: Dials[keyof Dials]) => change({ ...dials, [which]: value });
  const { tables } = known.uvit;
  switch (which) {
    case "garment":
      return (
        <Choice label={say("3.garment")} options={known.garments.map((_, k) => [k, say(`garment.${k}`)])} value={dials.garment} change={set} />
      );
    case "scheduler":
      return <Choice label={say("3.scheduler")} options={Object.keys(tables).map((name) => [name, name])} value={dials.scheduler} change={set} />;
    case "guidance":
      return (
        <Dial
          label={say("3.guidance")}
          values={GUIDANCE}
          value={dials.guidance}
          change={set}
          format={(value) => (value === 1 ? say("3.unguided") : value ? String(value) : say("3.classless"))}
        />
      );
    case "steps":
      return <Dial label={say("3.steps")} values={Object.keys(tables[dials.scheduler]).map(Number)} value={dials.steps} change={set} />;
    case "seed":
      return <Dial label={say("3.seed")} values={known.noises.map((_, k) => k)} value={dials.seed} change={set} />;
    case "skips":
      return (
        <fieldset class="skips">
          <legend>{say("3.skips")}</legend>
          {[2, 1, 0].map((k) => (
            <Toggle key={k} label={say(`3.skip.${k}`)} on={dials.skips[k]} change={(on) => set(dials.skips.map((was, one) => (one === k ? on : was)))} />
          ))}
        </fieldset>
      );
  }
}

interface Shown {
  noisy: Float32Array[];
  clean: Float32Array[];
  result?: Float32Array;
  judged?: number[];
}

/** A garment, and how it came out of noise. */
function Film({ known, dials }: { known: Known; dials: Dials }) {
  const say = useSay();
  const [shown, setShown] = useState<Shown>({ noisy: [], clean: [] });
  const [at, setAt] = useState<number>();
  const { busy, problem } = useLatest(async (isOld) => {
    const table = known.uvit.tables[dials.scheduler][dials.steps];
    const steps = sample(table, known.noises[dials.seed], "noise", network(known, dials));
    const film: Shown = { noisy: [], clean: [] };
    setAt(undefined);
    for (;;) {
      const step = await steps.next();
      if (isOld()) return;
      if (step.done) {
        const [result] = await decode([step.value]);
        const grey = Float32Array.from({ length: PIXELS * PIXELS }, (_, k) => 255 * result[k]);
        const { logits } = await run("vit", {
          pixels: floats(fitted(grey, PIXELS, PIXELS), SIDE, SIDE),
          kept: whole(Array.from({ length: 65 }, (_, k) => k)),
        });
        if (!isOld()) setShown({ ...film, result, judged: softmax(logits) });
        return;
      }
      const [noisy, clean] = await decode([step.value.noisy, step.value.clean]);
      film.noisy = [...film.noisy, noisy];
      film.clean = [...film.clean, clean];
      if (isOld()) return;
      setShown({ ...film });
    }
  }, [JSON.stringify(dials)]);
  if (problem) return <Trouble problem={problem} />;
  const { noisy, clean, result, judged } = shown;
  const large = at === undefined ? (result ?? clean.at(-1)) : clean[at];
  const best = judged?.indexOf(Math.max(...judged)) ?? 0;
  const garment = dials.guidance ? say(`garment.${dials.garment}`) : say("3.any");
  return (
    <div class="film" aria-busy={busy}>
      <div class="result">
        {large ? (
          <Picture values={large} width={PIXELS} height={PIXELS} label={say("3.picture", { garment })} />
        ) : (
          <div class="picture empty" />
        )}
      </div>
      <p aria-live={busy ? "off" : "polite"} class={judged && !busy ? "done" : ""}>
        {judged && !busy ? say("3.judged", { garment: say(`garment.${best}`), share: percent(judged[best]) }) : say("3.step", { step: clean.length, steps: dials.steps })}
      </p>
      <div class="strip" role="group" aria-label={say("3.film")} tabIndex={0}>
        {clean.map((_, k) => (
          <button key={k} class="frame" aria-pressed={at === k} aria-label={say("3.frame", { step: k + 1 })} onClick={() => setAt(at === k ? undefined : k)}>
            <Picture values={noisy[k]} width={PIXELS} height={PIXELS} label="" />
            <Picture values={clean[k]} width={PIXELS} height={PIXELS} label="" />
            <span>{k + 1}</span>
          </button>
        ))}
      </div>
      <p class="quiet">{say("3.rows")}</p>
    </div>
  );
}
