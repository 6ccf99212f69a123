/** What the page says, by key, in each of its languages. */
import { createContext } from "preact";
import { useContext } from "preact/hooks";

/** The languages by their codes, each with its own name for itself. */
export const LANGUAGES = Object.fromEntries(
  Object.keys(MESSAGES).map((code) => [code, new Intl.DisplayNames([code], { type: "language" }).of(code) ?? code]),
);

/** A sentence by its key; `{name}` in it is replaced by a value of that name. */
export type Say = (key: string, values?: Record<string, string | number>) => string;

export const speaker =
  (language: string): Say =>
  (key, values = {}) =>
    (MESSAGES[language]?.[key] || MESSAGES.en[key] || key).replace(/\{(\w+)\}/g, (_, name: string) => String(values[name]));

/** The visitor's language, if the page speaks it. */
export const preferred = () =>
  [...navigator.languages].map((code) => code.slice(0, 2)).find((code) => code in MESSAGES) ?? "en";

export const Words = createContext<{ language: string; say: Say }>({ language: "en", say: speaker("en") });

export const useSay = () => useContext(Words).say;
