// Numbers and times as people read them. Times are readings of the exchange's clock, told as if they were UTC.

const MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
const DAYS = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"];
const two = (number) => String(number).padStart(2, "0");

export function price(value, decimals = 2) {
  const text = Math.abs(value).toLocaleString("en-US", {
    minimumFractionDigits: decimals,
    maximumFractionDigits: decimals,
  });
  return value < 0 && Number(text) !== 0 ? `−${text}` : text;
}

export function signed(value, decimals = 2) {
  return (value > 0 ? "+" : "") + price(value, decimals);
}

export function shares(value) {
  for (const [size, unit] of [[1e9, "B"], [1e6, "M"], [1e3, "k"]]) {
    if (value >= size) return `${(value / size).toFixed(2)} ${unit}`;
  }
  return String(Math.round(value));
}

export function date(wall, withYear = true) {
  const time = new Date(wall * 1000);
  const told = `${DAYS[time.getUTCDay()]} ${MONTHS[time.getUTCMonth()]} ${time.getUTCDate()}`;
  return withYear ? `${told} ${time.getUTCFullYear()}` : told;
}

export function clock(wall) {
  const time = new Date(wall * 1000);
  return `${two(time.getUTCHours())}:${two(time.getUTCMinutes())}`;
}

export function moment(wall, daily) {
  return daily ? date(wall) : `${date(wall)} ${clock(wall)}`;
}

// What stands below the chart; `kind` is the library's: year, month, day, time.
export function tick(wall, kind) {
  const time = new Date(wall * 1000);
  if (kind === 0) return String(time.getUTCFullYear());
  if (kind === 1) return time.getUTCMonth() ? MONTHS[time.getUTCMonth()] : String(time.getUTCFullYear());
  return kind === 2 ? `${MONTHS[time.getUTCMonth()]} ${time.getUTCDate()}` : clock(wall);
}

export function age(seconds) {
  if (seconds < 90) return `${Math.floor(seconds)} s`;
  return seconds < 5400 ? `${Math.round(seconds / 60)} min` : `${Math.round(seconds / 3600)} h`;
}
