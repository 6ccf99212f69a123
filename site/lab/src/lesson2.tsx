/** A volume in three planes: the verdict when it is pushed, and without some of its tubelets. */
import { useMemo, useState } from "preact/hooks";
import { contents, pieces } from "./contents";
import { floats, run } from "./engine";
import { Cells, Choice, Dial, Panel, Predict, Toggle, Trouble, useLatest, useLoaded, Verdict, type Place } from "./ui";
import { useSay } from "./words";

const LESSON = "02_vivit_organmnist3d";
const PLACES: Place[] = [
  ["2.place.data", LESSON, "3432520f"],
  ["2.place.tokens", LESSON, "f16d9502"],
  ["2.place.attention", LESSON, "4af8e1de"],
  ["2.place.pushed", LESSON, "b68011e6"],
];
const SIDE = 28;
const TUBELET = 7;
const ON_SIDE = SIDE / TUBELET;
const EVERY = Array.from({ length: ON_SIDE ** 3 }, (_, k) => k);
const MIDDLE = EVERY.filter((k) => [k >> 4, (k >> 2) & 3, k & 3].every((place) => place === 1 || place === 2));
const PUSHES = Array.from({ length: 17 }, (_, k) => k - 8);
const INDICES = Array.from({ length: SIDE }, (_, k) => k);

/** The axes of a volume: slices from head to feet, rows from front to back, columns from side to side. */
type Axis = 0 | 1 | 2;
const AXES: Axis[] = [0, 1, 2];

export const Lesson2 = () => (
  <Panel number={2} networks={["vivit"]} files={["volumes.bin"]} places={PLACES}>
    {() => <Bench />}
  </Panel>
);

/** As `np.roll` along the columns: what leaves on one side comes in on the other. */
const pushed = (volume: Float32Array, by: number) =>
  volume.map((_, k) => volume[k - (k % SIDE) + (((k % SIDE) - by + SIDE) % SIDE)]);

/** Where a cell of a plane lies in the volume: its place along each axis. */
function placed(axis: Axis, at: number, row: number, column: number): number[] {
  const place = [row, column];
  place.splice(axis, 0, at);
  return place;
}

const numbered = ([z, y, x]: number[], side: number) => (z * side + y) * side + x;

function Bench() {
  const say = useSay();
  const known = useLoaded(async () => ({ ...(await contents()), pictures: await pieces("volumes.bin", "bytes", SIDE ** 3) }));
  const [which, setWhich] = useState(0);
  const [by, setBy] = useState(0);
  const [at, setAt] = useState([14, 14, 14]);
  const [hidden, setHidden] = useState<ReadonlySet<number>>(new Set());
  const [isLit, setLit] = useState(false);
  const [said, setSaid] = useState<{ shares: number[]; rollout: number[] }>();
  const volume = useMemo(() => known && pushed(known.pictures[which], by), [known, which, by]);
  const { busy, problem } = useLatest(async () => {
    if (!volume) return;
    const kept = EVERY.map((tubelet) => Number(!hidden.has(tubelet)));
    const { probabilities, rollout } = await run("vivit", { volume: floats(volume, SIDE, SIDE, SIDE), kept: floats(kept) });
    setSaid({ shares: [...probabilities], rollout: [...rollout] });
  }, [volume, hidden]);
  if (problem) return <Trouble problem={problem} />;
  if (!known || !volume || !said) return <p class="quiet">{say("computing")}</p>;
  const names = known.organs.map((_, k) => say(`organ.${k}`));
  const toggle = (tubelet: number) => {
    const next = new Set(hidden);
    if (!next.delete(tubelet)) next.add(tubelet);
    if (next.size < EVERY.length) setHidden(next);
  };
  const most = Math.max(...said.rollout);
  return (
    <>
      <Predict number={2} answers={3} right={1} see={() => setBy(8)} />
      <div class="bench two uneven">
        <section class="card" aria-label={say("2.volume")}>
          <h3>{say("2.volume")}</h3>
          <div class="dials first-dials">
            <Choice
              label={say("2.which")}
              options={known.volumes.map((organ, k): [number, string] => [k, `${names[organ]} · ${k + 1}`])}
              value={which}
              change={(next) => {
                setWhich(next);
                setHidden(new Set());
                setBy(0);
              }}
            />
            <Dial label={say("2.push")} values={PUSHES} value={by} change={setBy} format={(value) => say("2.columns", { value: value > 0 ? `+${value}` : String(value).replace("-", "−") })} />
          </div>
          <div class="planes">
            {AXES.map((axis) => (
              <Plane
                key={axis}
                axis={axis}
                at={at[axis]}
                volume={volume}
                hidden={hidden}
                toggle={toggle}
                heat={isLit ? (tubelet) => said.rollout[tubelet] / most : undefined}
                change={(value) => setAt(at.map((old, one) => (one === axis ? value : old)))}
              />
            ))}
          </div>
          <p class="quiet">{say("2.click", { kept: EVERY.length - hidden.size })}</p>
          <div class="actions">
            <button onClick={() => setHidden(new Set(MIDDLE))}>{say("2.hide-middle")}</button>
            <button onClick={() => setHidden(new Set(EVERY.filter((k) => !MIDDLE.includes(k))))}>{say("2.only-middle")}</button>
            <button onClick={() => setHidden(new Set())} disabled={!hidden.size}>
              {say("2.show")}
            </button>
            <Toggle label={say("2.rollout")} on={isLit} change={setLit} />
          </div>
        </section>
        <section class="card">
          <Verdict names={names} shares={said.shares} busy={busy} />
          <p>{say("2.truth", { organ: names[known.volumes[which]] })}</p>
          <p class="quiet">{say("2.synthetic")}</p>
        </section>
      </div>
    </>
  );
}

interface PlaneProps {
  axis: Axis;
  at: number;
  volume: Float32Array;
  hidden: ReadonlySet<number>;
  toggle: (tubelet: number) => void;
  heat?: (tubelet: number) => number;
  change: (at: number) => void;
}

/** A plane through the volume, with the tubelets that it cuts. */
function Plane({ axis, at, volume, hidden, toggle, heat, change }: PlaneProps) {
  const say = useSay();
  const values = useMemo(
    () => Float32Array.from({ length: SIDE * SIDE }, (_, k) => volume[numbered(placed(axis, at, Math.floor(k / SIDE), k % SIDE), SIDE)]),
    [volume, axis, at],
  );
  const tubelet = (cell: number) => numbered(placed(axis, Math.floor(at / TUBELET), Math.floor(cell / ON_SIDE), cell % ON_SIDE), ON_SIDE);
  return (
    <div class="plane">
      <Cells
        values={values}
        width={SIDE}
        height={SIDE}
        side={ON_SIDE}
        label={say(`2.plane.${axis}`)}
        name={(cell) => say("2.tubelet", { number: tubelet(cell) + 1, row: Math.floor(cell / ON_SIDE) + 1, column: (cell % ON_SIDE) + 1 })}
        isOff={(cell) => hidden.has(tubelet(cell))}
        toggle={(cell) => toggle(tubelet(cell))}
        heat={heat && ((cell) => heat(tubelet(cell)))}
      />
      <Dial label={say(`2.plane.${axis}`)} values={INDICES} value={at} change={change} format={(value) => String(value + 1)} />
    </div>
  );
}
