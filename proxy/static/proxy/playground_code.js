// A request body as it stands in code, in the languages of the playground. Pure.
"use strict";

const bodyAs = (() => {
const asJSON = (value) => JSON.stringify(value, null, 2);
const asPython = (value) => {
  if (value === true) return "True";
  if (Array.isArray(value)) return `[${value.map((each) => `\n        ${asPython(each)},`).join("")}\n    ]`;
  if (typeof value !== "object") return JSON.stringify(value);
  return `{${Object.entries(value).map(([name, each]) => `"${name}": ${asPython(each)}`).join(", ")}}`;
};

return {
  curl: (body) => asJSON(body).replace(/\n/g, "\n  ").replace(/'/g, "'\\''"),
  python: (body) => Object.entries(body).map(([name, value]) => `    ${name}=${asPython(value)},`).join("\n"),
  node: (body) => asJSON(body).replace(/^( *)"(\w+)":/gm, "$1$2:"),
};
})();
