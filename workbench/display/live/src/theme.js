// Which theme the page has, and when it changes.

const prefersDark = matchMedia("(prefers-color-scheme: dark)");

export function currentStyle(asked) {
  if (asked !== "auto") return asked;
  const lab = document.body.dataset.jpThemeLight;
  if (lab !== undefined) return lab === "false" ? "dark" : "light";
  return prefersDark.matches ? "dark" : "light";
}

export function onThemeChange(callback) {
  const observer = new MutationObserver(callback);
  observer.observe(document.body, { attributes: true, attributeFilter: ["data-jp-theme-light"] });
  prefersDark.addEventListener("change", callback);
  return () => {
    observer.disconnect();
    prefersDark.removeEventListener("change", callback);
  };
}

// "trend.1" is the second of several.
export function colourOf(theme, name) {
  const [key, at] = name.split(".");
  return at === undefined ? theme[key] : theme[key][Number(at)];
}

export function faded(colour, opacity) {
  const [red, green, blue] = [1, 3, 5].map((at) => parseInt(colour.slice(at, at + 2), 16));
  return `rgba(${red}, ${green}, ${blue}, ${opacity})`;
}
