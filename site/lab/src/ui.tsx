/** What all panels are made of. */
import type { ComponentChildren } from "preact";
import { useContext, useEffect, useId, useLayoutEffect, useRef, useState } from "preact/hooks";
import { Obstacle, settings } from "./assets";
import { prepare } from "./engine";
import { useSay, Words } from "./words";

/** Where a lesson explains something: the key of what it is, and the cell. */
export type Place = [key: string, lesson: string, cell: string];

interface PanelProps {
  number: number;
  networks: string[];
  files: string[];
  places: Place[];
  children: () => ComponentChildren;
}

/** A lesson's panel: what to try, the models with a progress bar, and then what can be tried. */
export function Panel({ number, networks, files, places, children }: PanelProps) {
  const { say, language } = useContext(Words);
  const address = settings.lessons.replace("{language}", language);
  const [share, setShare] = useState(0);
  const [ready, setReady] = useState(false);
  const [problem, setProblem] = useState<unknown>();
  const [attempt, setAttempt] = useState(0);
  const wanted = JSON.stringify([networks, files]);
  useEffect(() => {
    const [some, others] = JSON.parse(wanted) as [string[], string[]];
    prepare(some, ["contents.json", ...others], setShare).then(() => setReady(true), setProblem);
  }, [wanted, attempt]);
  const again = () => {
    setProblem(undefined);
    setAttempt(attempt + 1);
  };
  return (
    <>
      <header class="intro">
        <p class="eyebrow">{say("lesson", { number })}</p>
        <h2>{say(`${number}.title`)}</h2>
        <p class="lead">{say(`${number}.try`)}</p>
      </header>
      {problem ? (
        <Trouble problem={problem} again={again} />
      ) : ready ? (
        children()
      ) : (
        <div class="loading">
          <label>
            {say("loading")}
            <progress max={1} value={share} />
          </label>
        </div>
      )}
      <footer class="places">
        <h3>{say("explained")}</h3>
        <ul>
          {places.map(([key, lesson, cell]) => (
            <li key={key}>
              <a href={address.replace("{name}", lesson).replace("{cell}", cell)}>{say(key)}</a>
            </li>
          ))}
        </ul>
      </footer>
    </>
  );
}

/** What went wrong, and what to do. */
export function Trouble({ problem, again }: { problem: unknown; again?: () => void }) {
  const say = useSay();
  const known = problem instanceof Obstacle;
  return (
    <div class="trouble" role="alert">
      <p>{known ? say(problem.message) : say("obstacle.other", { error: String(problem) })}</p>
      {again && <button onClick={again}>{say("again")}</button>}
    </div>
  );
}

interface PredictProps {
  number: number;
  /** How many answers there are, and which is right. */
  answers: number;
  right: number;
  see: () => void;
}

/** Choose an answer; then it can be seen. */
export function Predict({ number, answers, right, see }: PredictProps) {
  const say = useSay();
  const name = useId();
  const [chosen, setChosen] = useState<number>();
  const key = `${number}.predict`;
  return (
    <section class="predict" aria-labelledby={`${name}-title`}>
      <h3 id={`${name}-title`}>{say("predict")}</h3>
      <fieldset>
        <legend>{say(key)}</legend>
        {Array.from({ length: answers }, (_, answer) => (
          <label key={answer} class={chosen === undefined ? "" : answer === right ? "right" : answer === chosen ? "wrong" : ""}>
            <input
              type="radio"
              name={name}
              checked={chosen === answer}
              disabled={chosen !== undefined}
              onChange={() => setChosen(answer)}
            />
            {say(`${key}.${answer}`)}
          </label>
        ))}
      </fieldset>
      <div aria-live="polite">
        {chosen === undefined ? (
          <p class="quiet">{say("predict.first")}</p>
        ) : (
          <>
            <p>
              <strong>{say(chosen === right ? "predict.right" : "predict.other")}</strong> {say(`${key}.why`)}
            </p>
            <button
              class="main"
              onClick={(event) => {
                see();
                const bench = event.currentTarget.closest("section")!.parentElement!.querySelector(".bench");
                bench?.scrollIntoView({ behavior: isCalm() ? "auto" : "smooth", block: "start" });
              }}
            >
              {say(`${number}.see`)}
            </button>
          </>
        )}
      </div>
    </section>
  );
}

interface DialProps {
  label: string;
  values: number[];
  value: number;
  change: (value: number) => void;
  format?: (value: number) => string;
}

/** A slider over a list of values. */
export function Dial({ label, values, value, change, format = String }: DialProps) {
  const at = Math.max(0, values.indexOf(value));
  const id = useId();
  return (
    <div class="dial">
      <label for={id}>{label}</label>
      <output for={id}>{format(value)}</output>
      <input
        id={id}
        type="range"
        min={0}
        max={values.length - 1}
        value={at}
        aria-valuetext={format(value)}
        onInput={(event) => change(values[Number(event.currentTarget.value)])}
      />
    </div>
  );
}

interface ChoiceProps<T> {
  label: string;
  options: [value: T, name: string][];
  value: T;
  change: (value: T) => void;
}

/** One of a few, in a list to unfold. */
export function Choice<T>({ label, options, value, change }: ChoiceProps<T>) {
  const id = useId();
  return (
    <div class="choice">
      <label for={id}>{label}</label>
      <select
        id={id}
        value={options.findIndex(([one]) => one === value)}
        onChange={(event) => change(options[Number(event.currentTarget.value)][0])}
      >
        {options.map(([, name], number) => (
          <option key={number} value={number}>
            {name}
          </option>
        ))}
      </select>
    </div>
  );
}

/** A switch with its name. */
export function Toggle({ label, on, change }: { label: string; on: boolean; change: (on: boolean) => void }) {
  return (
    <label class="toggle">
      <input type="checkbox" role="switch" checked={on} onChange={(event) => change(event.currentTarget.checked)} />
      {label}
    </label>
  );
}

/** The most probable classes. */
export function Verdict({ names, shares, busy, most = 5 }: { names: string[]; shares: number[]; busy?: boolean; most?: number }) {
  const say = useSay();
  const order = shares.map((_, k) => k).sort((a, b) => shares[b] - shares[a]);
  return (
    <section class="verdict" aria-busy={busy}>
      <h3>{say("verdict")}</h3>
      <p class="said" aria-live="polite">
        {names[order[0]]} <span class="quiet">{percent(shares[order[0]])}</span>
      </p>
      <ol>
        {order.slice(0, most).map((k, place) => (
          <li key={place} class={place ? "" : "first"}>
            <span class="name">{names[k]}</span>
            <span class="track" aria-hidden="true">
              <span style={{ width: `${100 * shares[k]}%` }} />
            </span>
            <span class="share">{percent(shares[k])}</span>
          </li>
        ))}
      </ol>
    </section>
  );
}

export const percent = (share: number) => (share > 0 && share < 0.005 ? "<1%" : `${Math.round(100 * share)}%`);

interface PictureProps {
  /** Red, green and blue from 0 to 1, one after another, or grey alone. */
  values: ArrayLike<number>;
  width: number;
  height: number;
  /** What there is to see; empty where something beside it says so. */
  label: string;
  class?: string;
  /** Numbers beyond 0 to 1 are brought there. */
  range?: [number, number];
}

/** Pixels, as they are, however large they are shown. */
export function Picture({ values, width, height, label, class: name, range: [low, high] = [0, 1] }: PictureProps) {
  const canvas = useRef<HTMLCanvasElement>(null);
  useLayoutEffect(() => {
    const size = width * height;
    const colours = values.length / size;
    const image = new ImageData(width, height);
    for (let k = 0; k < size; k++) {
      for (let c = 0; c < 3; c++) image.data[4 * k + c] = (255 * (values[colours < 3 ? k : c * size + k] - low)) / (high - low);
      image.data[4 * k + 3] = 255;
    }
    canvas.current!.getContext("2d")!.putImageData(image, 0, 0);
    Object.assign(canvas.current!, { values }); // for whoever wants the numbers: a console, a test
  }, [values, width, height, low, high]);
  const said = label ? { role: "img" as const, "aria-label": label } : { "aria-hidden": "true" as const };
  return <canvas ref={canvas} class={`picture ${name ?? ""}`} width={width} height={height} {...said} />;
}

interface CellsProps {
  values: ArrayLike<number>;
  width: number;
  height: number;
  /** Cells on a side; they are counted from 0, row by row. */
  side: number;
  label: string;
  name: (cell: number) => string;
  isOff: (cell: number) => boolean;
  toggle: (cell: number) => void;
  look?: (cell: number) => void;
  marked?: number;
  /** From 0 to 1, how strongly each cell is lit. */
  heat?: (cell: number) => number;
}

/** Buttons over grey bytes, one for each cell: one stop of the Tab key, and the arrows from there. */
export function Cells({ values, width, height, side, label, name, isOff, toggle, look, marked, heat }: CellsProps) {
  const [at, setAt] = useState(Math.floor((side * side + side) / 2));
  const grid = useRef<HTMLDivElement>(null);
  const move = (event: KeyboardEvent) => {
    const step = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] }[event.key];
    if (!step) return;
    event.preventDefault();
    const [row, column] = [Math.floor(at / side) + step[0], (at % side) + step[1]].map((place) => (place + side) % side);
    setAt(row * side + column);
    grid.current!.querySelectorAll("button")[row * side + column].focus();
  };
  return (
    <div class="cells" style={{ "--side": side }} ref={grid} role="group" aria-label={label} onKeyDown={move}>
      <Picture values={values} width={width} height={height} range={[0, 255]} label="" />
      {Array.from({ length: side * side }, (_, cell) => (
        <button
          key={cell}
          class={`cell ${cell === marked ? "marked" : ""}`}
          style={heat && { "--heat": heat(cell) }}
          tabIndex={cell === at ? 0 : -1}
          aria-pressed={isOff(cell)}
          aria-label={name(cell)}
          onClick={() => {
            setAt(cell);
            toggle(cell);
          }}
          onPointerEnter={(event) => event.pointerType === "mouse" && look?.(cell)}
          onFocus={() => look?.(cell)}
        />
      ))}
    </div>
  );
}

/** Calls `work` when `keys` change, and not before the call before has ended; of several changes the last one counts. */
export function useLatest(work: (isOld: () => boolean) => Promise<void>, keys: unknown[]): { busy: boolean; problem: unknown } {
  const [finished, setFinished] = useState<unknown[]>([]);
  const [problem, setProblem] = useState<unknown>();
  const newest = useRef<unknown[]>(keys);
  const line = useRef<Promise<void>>(Promise.resolve());
  useEffect(() => {
    newest.current = keys;
    const isOld = () => newest.current !== keys;
    line.current = line.current.then(async () => {
      if (isOld()) return;
      let failed: unknown;
      await work(isOld).catch((error: unknown) => (failed = error));
      if (isOld()) return;
      setProblem(failed);
      setFinished(keys);
    });
    // `work` is new at every drawing; what it depends on is in `keys`
    // eslint-disable-next-line react-hooks/exhaustive-deps
  }, keys);
  return { busy: keys.some((key, k) => key !== finished[k]), problem };
}

/** Something that has to be fetched first. */
export function useLoaded<T>(get: () => Promise<T>): T | undefined {
  const [value, setValue] = useState<T>();
  useEffect(() => {
    void get().then(setValue);
    // once
    // eslint-disable-next-line react-hooks/exhaustive-deps
  }, []);
  return value;
}

/** Whether the visitor has asked for little motion. */
export const isCalm = () => matchMedia("(prefers-reduced-motion: reduce)").matches;
