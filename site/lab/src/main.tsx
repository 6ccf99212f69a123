/** The page: four panels, one at a time, in the visitor's language. */
import { render, type ComponentType } from "preact";
import { useEffect, useState } from "preact/hooks";
import { Lesson1 } from "./lesson1";
import { Lesson2 } from "./lesson2";
import { Lesson3 } from "./lesson3";
import { Lesson4 } from "./lesson4";
import { LANGUAGES, preferred, speaker, Words } from "./words";

const PANELS: ComponentType<{ active: boolean }>[] = [Lesson1, Lesson2, Lesson3, Lesson4];

/** The address says which lesson and, if it was chosen, which language: #3 or #3-zh. */
function fromAddress() {
  const [, lesson, language] = /^#([1-4])?-?(\w\w)?$/.exec(location.hash) ?? [];
  return { lesson: Number(lesson ?? 1), language: language in MESSAGES ? language : preferred() };
}

function Lab() {
  const [{ lesson, language }, setPlace] = useState(fromAddress);
  const [visited, setVisited] = useState(new Set([lesson]));
  const say = speaker(language);
  useEffect(() => {
    const follow = () => setPlace(fromAddress());
    addEventListener("hashchange", follow);
    return () => removeEventListener("hashchange", follow);
  }, []);
  useEffect(() => {
    document.documentElement.lang = say("locale");
    document.title = `${say("title")} · ${say(`${lesson}.short`)}`;
    setVisited((before) => (before.has(lesson) ? before : new Set([...before, lesson])));
    // eslint-disable-next-line react-hooks/exhaustive-deps
  }, [lesson, language]);
  return (
    <Words.Provider value={{ language, say }}>
      <a class="skip" href="#panel" onClick={(event) => (event.preventDefault(), document.getElementById("panel")!.focus())}>
        {say("skip")}
      </a>
      <header class="top">
        <div class="brand">
          <svg viewBox="0 0 8 8" aria-hidden="true">
            <path class="a" d="M0 0h3v3H0z" />
            <path class="b" d="M4 0h4v3H4zM0 4h3v4H0z" />
            <path class="c" d="M4 4h4v4H4z" />
          </svg>
          <div>
            <h1>{say("title")}</h1>
            <p>{say("subtitle")}</p>
          </div>
        </div>
        <nav class="languages" aria-label={say("language")}>
          {Object.entries(LANGUAGES).map(([code, name]) => (
            <a key={code} href={`#${lesson}-${code}`} lang={code} aria-current={code === language ? "true" : undefined}>
              {name}
            </a>
          ))}
        </nav>
        <nav class="lessons" aria-label={say("lessons")}>
          {PANELS.map((_, k) => (
            <a key={k} href={`#${k + 1}-${language}`} aria-current={k + 1 === lesson ? "page" : undefined}>
              <b>{k + 1}</b> {say(`${k + 1}.short`)}
            </a>
          ))}
        </nav>
      </header>
      <main id="panel" tabIndex={-1}>
        {PANELS.map(
          (Lesson, k) =>
            visited.has(k + 1) && (
              <article key={k} hidden={k + 1 !== lesson} class={`lesson-${k + 1}`}>
                <Lesson active={k + 1 === lesson} />
              </article>
            ),
        )}
      </main>
      <footer class="bottom">
        <p>{say("honest")}</p>
      </footer>
    </Words.Provider>
  );
}

render(<Lab />, document.getElementById("lab")!);
