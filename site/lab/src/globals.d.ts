/** Put in by build.js: the worker's source, and the sentences by language and key. */
declare const WORKER: string;
declare const MESSAGES: Record<string, Record<string, string>>;
