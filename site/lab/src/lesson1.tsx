/** A garment as patches: the verdict with some of them, and who looks at whom. */
import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import { looks, MEAN, ROLLOUT, type Attention, type Direction } from "./attention";
import { contents, pieces, softmax } from "./contents";
import { floats, run, whole } from "./engine";
import { asGarment, dabbed, SIDE } from "./garment";
import { Cells, Choice, Dial, Panel, percent, Picture, Predict, Trouble, useLatest, useLoaded, Verdict, type Place } from "./ui";
import { useSay } from "./words";

const LESSON = "01_vit_inference";
const PLACES: Place[] = [
  ["1.place.patches", LESSON, "8255470a"],
  ["1.place.own", LESSON, "9f97d18e"],
  ["1.place.attention", LESSON, "51be0554"],
  ["1.place.removed", LESSON, "4db1519e"],
];
const ALL = Array.from({ length: 64 }, (_, k) => k + 1);
const [LAYERS, HEADS] = [6, 4];

export const Lesson1 = () => (
  <Panel number={1} networks={["vit"]} files={["garments.bin"]} places={PLACES}>
    {() => <Bench />}
  </Panel>
);

/** How bright a patch is: 28 pixels in 8 patches are 3.5 on a side. */
const brightnessOf = (pixels: Float32Array, patch: number) => {
  const [row, column] = [Math.floor((patch - 1) / 8), (patch - 1) % 8];
  let total = 0;
  for (let y = 0; y < 4; y++)
    for (let x = 0; x < 4; x++)
      total += pixels[Math.floor(((row * 4 + y) * 7) / 8) * SIDE + Math.floor(((column * 4 + x) * 7) / 8)];
  return total;
};

function Bench() {
  const say = useSay();
  const known = useLoaded(async () => ({ ...(await contents()), pictures: await pieces("garments.bin", "bytes", SIDE * SIDE) }));
  const [shelf, setShelf] = useState(0);
  const [pixels, setPixels] = useState<Float32Array>();
  const [isDrawing, setDrawing] = useState(false);
  const [gone, setGone] = useState<ReadonlySet<number>>(new Set());
  const [shares, setShares] = useState<number[]>();
  const [attention, setAttention] = useState<Attention>();
  const [layer, setLayer] = useState(ROLLOUT);
  const [head, setHead] = useState(MEAN);
  const [direction, setDirection] = useState<Direction>("from");
  const [looker, setLooker] = useState(0);
  const [mistake, setMistake] = useState("");

  useEffect(() => {
    if (known && !pixels) setPixels(known.pictures[9 * known.of_each]);
  }, [known, pixels]);

  const kept = useMemo(() => [0, ...ALL.filter((patch) => !gone.has(patch))], [gone]);
  const { busy, problem } = useLatest(async () => {
    if (!pixels) return;
    const { logits, attention: weights } = await run("vit", { pixels: floats(pixels, SIDE, SIDE), kept: whole(kept) });
    setShares(softmax(logits));
    setAttention({ weights, kept, layers: LAYERS, heads: HEADS });
  }, [pixels, kept]);

  const show = (picture: Float32Array) => {
    setMistake("");
    setDrawing(false);
    setPixels(picture);
    setGone(new Set());
  };
  const take = async (blob: Blob | null | undefined) => {
    if (!blob) return;
    try {
      show(await asGarment(blob));
    } catch {
      setMistake(say("1.no-picture"));
    }
  };
  const removeHalf = (score: (patch: number) => number) => {
    const order = [...ALL].sort((a, b) => score(b) - score(a));
    setGone(new Set(order.slice(0, 32)));
  };
  const toggle = (patch: number) => {
    const next = new Set(gone);
    if (!next.delete(patch)) next.add(patch);
    setGone(next);
  };

  if (problem) return <Trouble problem={problem} />;
  if (!known || !pixels || !shares || !attention) return <p class="quiet">{say("computing")}</p>;
  const names = known.garments.map((_, k) => say(`garment.${k}`));
  const brightness = (patch: number) => brightnessOf(pixels, patch);
  const [ofCls, ...seen] = looks(attention, layer, head, looker, direction);
  const who = looker && !gone.has(looker) ? say("1.patch", { number: looker }) : "[CLS]";

  const heat = say(`1.heat.${direction}`, { who, most: percent(Math.max(...seen)), cls: percent(ofCls) });

  return (
    <>
      <Predict number={1} answers={3} right={1} see={() => removeHalf(brightness)} />
      <section class="shelf" aria-label={say("1.pick")}>
        <div class="thumbs">
          {names.map((name, k) => (
            <button key={k} class="thumb" aria-label={name} title={name} onClick={() => show(known.pictures[k * known.of_each + shelf])}>
              <Picture values={known.pictures[k * known.of_each + shelf]} width={SIDE} height={SIDE} range={[0, 255]} label="" />
            </button>
          ))}
        </div>
        <div class="actions">
          <button onClick={() => setShelf((shelf + 1) % known.of_each)}>{say("1.others")}</button>
          <FileButton label={say("1.open")} take={take} />
          <FileButton label={say("1.photograph")} take={take} camera />
          <button
            aria-pressed={isDrawing}
            onClick={() => {
              if (!isDrawing) show(new Float32Array(SIDE * SIDE));
              setDrawing(!isDrawing);
            }}
          >
            {say(isDrawing ? "1.drawn" : "1.draw")}
          </button>
        </div>
        {mistake && <p class="mistake" role="alert">{mistake}</p>}
      </section>

      <div class="bench three">
        <section
          class="card"
          aria-label={say("1.picture")}
          onDragOver={(event) => event.preventDefault()}
          onDrop={(event) => {
            event.preventDefault();
            void take(event.dataTransfer?.files[0]);
          }}
        >
          <h3>{say("1.picture")}</h3>
          {isDrawing ? (
            <Easel pixels={pixels} change={setPixels} />
          ) : (
            <>
              <Cells
                values={pixels}
                width={SIDE}
                height={SIDE}
                side={8}
                label={say("1.grid")}
                name={(cell) => say("1.patch.label", { number: cell + 1, row: (cell >> 3) + 1, column: (cell & 7) + 1 })}
                isOff={(cell) => gone.has(cell + 1)}
                marked={looker - 1}
                toggle={(cell) => toggle(cell + 1)}
                look={(cell) => setLooker(cell + 1)}
              />
              <p class="quiet">{say("1.click", { kept: kept.length - 1 })}</p>
              <div class="actions">
                <span class="quiet">{say("1.remove")}</span>
                <button onClick={() => removeHalf(brightness)}>{say("1.brightest")}</button>
                <button onClick={() => removeHalf((patch) => -brightness(patch))}>{say("1.darkest")}</button>
                <button onClick={() => removeHalf(() => Math.random())}>{say("1.random")}</button>
                <button onClick={() => setGone(new Set())} disabled={!gone.size}>
                  {say("1.back")}
                </button>
              </div>
            </>
          )}
        </section>

        <section class="card verdict-card">
          <Verdict names={names} shares={shares} busy={busy} />
        </section>

        <section class="card" aria-label={say("1.looks")}>
          <h3>{say("1.looks")}</h3>
          <Heat pixels={pixels} shares={seen} gone={gone} look={setLooker} label={heat} />
          <p class="quiet">{heat}</p>
          <Dial
            label={say("1.layer")}
            values={[ROLLOUT, ...Array.from({ length: LAYERS }, (_, k) => k)]}
            value={layer}
            change={setLayer}
            format={(value) => (value === ROLLOUT ? say("1.rollout") : String(value + 1))}
          />
          {layer !== ROLLOUT && (
            <Choice
              label={say("1.head")}
              options={[[MEAN, say("1.mean")], ...Array.from({ length: HEADS }, (_, k): [number, string] => [k, String(k + 1)])]}
              value={head}
              change={setHead}
            />
          )}
          <div class="actions">
            <button onClick={() => setDirection(direction === "from" ? "to" : "from")}>{say(`1.turn.${direction}`)}</button>
            <button onClick={() => setLooker(0)} disabled={!looker}>
              {say("1.cls")}
            </button>
          </div>
        </section>
      </div>

      <section class="card wide" aria-label={say("1.sequence")}>
        <h3>{say("1.sequence")}</h3>
        <p class="quiet">{say("1.sequence.text", { count: kept.length })}</p>
        <ol class="sequence">
          {kept.map((token) => (
            <li key={token} class={token === looker ? "looker" : ""} onPointerEnter={() => setLooker(token)}>
              {token ? <Tile pixels={pixels} patch={token} /> : <span class="cls">CLS</span>}
              <span>{token || ""}</span>
            </li>
          ))}
        </ol>
      </section>
    </>
  );
}

function FileButton({ label, take, camera }: { label: string; take: (file?: Blob) => Promise<void>; camera?: boolean }) {
  const input = useRef<HTMLInputElement>(null);
  return (
    <>
      <button onClick={() => input.current!.click()}>{label}</button>
      <input
        ref={input}
        type="file"
        accept="image/*"
        capture={camera ? "environment" : undefined}
        hidden
        aria-label={label}
        onChange={(event) => {
          void take(event.currentTarget.files?.[0]);
          event.currentTarget.value = "";
        }}
      />
    </>
  );
}

interface HeatProps {
  pixels: Float32Array;
  shares: number[];
  gone: ReadonlySet<number>;
  label: string;
  look: (patch: number) => void;
}

/** The picture, dark, and bright where it is looked at. A finger, which cannot hover, chooses here who looks. */
function Heat({ pixels, shares, gone, label, look }: HeatProps) {
  const most = Math.max(...shares, 1e-9);
  return (
    <div class="cells heat" style={{ "--side": 8 }} role="img" aria-label={label}>
      <Picture values={pixels} width={SIDE} height={SIDE} range={[0, 255]} label="" />
      {ALL.map((patch) => (
        <span key={patch} class={gone.has(patch) ? "gone" : ""} onPointerDown={() => look(patch)} style={{ "--heat": shares[patch - 1] / most }} />
      ))}
    </div>
  );
}

/** One patch, as it stands in the sequence. */
function Tile({ pixels, patch }: { pixels: Float32Array; patch: number }) {
  const values = useMemo(() => {
    const [row, column] = [Math.floor((patch - 1) / 8) * 4, ((patch - 1) % 8) * 4];
    return Float32Array.from({ length: 16 }, (_, k) => {
      const [y, x] = [((row + (k >> 2)) * 7) / 8, ((column + (k & 3)) * 7) / 8].map((place) => Math.min(27, Math.round(place)));
      return pixels[y * SIDE + x];
    });
  }, [pixels, patch]);
  return <Picture values={values} width={4} height={4} range={[0, 255]} label="" />;
}

/** Where a garment is drawn with a finger, a pen or a mouse. */
function Easel({ pixels, change }: { pixels: Float32Array; change: (pixels: Float32Array) => void }) {
  const say = useSay();
  const [radius, setRadius] = useState(1.6);
  const [isWiping, setWiping] = useState(false);
  const last = useRef<[number, number] | undefined>(undefined);
  const current = useRef(pixels);
  current.current = pixels;
  const draw = (event: PointerEvent) => {
    if (!event.buttons) return;
    const box = (event.currentTarget as HTMLElement).getBoundingClientRect();
    const to: [number, number] = [((event.clientX - box.left) / box.width) * SIDE, ((event.clientY - box.top) / box.height) * SIDE];
    const from = last.current ?? to;
    const count = Math.max(1, Math.ceil(Math.hypot(to[0] - from[0], to[1] - from[1]) * 2));
    let drawn = current.current;
    for (let k = 1; k <= count; k++) {
      const [x, y] = from.map((start, axis) => start + ((to[axis] - start) * k) / count);
      drawn = dabbed(drawn, x, y, radius, isWiping ? 0 : 230);
    }
    last.current = to;
    current.current = drawn;
    change(drawn);
  };
  return (
    <>
      <div
        class="easel"
        onPointerDown={(event) => {
          event.currentTarget.setPointerCapture(event.pointerId);
          last.current = undefined;
          draw(event);
        }}
        onPointerMove={draw}
      >
        <Picture values={pixels} width={SIDE} height={SIDE} range={[0, 255]} label={say("1.easel")} />
      </div>
      <p class="quiet">{say("1.easel.text")}</p>
      <Dial label={say("1.pen")} values={[0.8, 1.6, 2.6]} value={radius} change={setRadius} format={(value) => say(`1.pen.${value}`)} />
      <div class="actions">
        <button aria-pressed={isWiping} onClick={() => setWiping(!isWiping)}>
          {say("1.wipe")}
        </button>
        <button onClick={() => change(new Float32Array(SIDE * SIDE))}>{say("1.clear")}</button>
      </div>
    </>
  );
}
