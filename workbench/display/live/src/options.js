// How the library is to draw, in our colours.

import { ColorType, CrosshairMode, LineStyle } from "lightweight-charts";

import { moment, tick } from "./text.js";
import { faded } from "./theme.js";

export const FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif";

export function chartOptions(theme, setup) {
  const line = { color: faded(theme.faint, 0.7), width: 1, style: LineStyle.Dashed, labelBackgroundColor: theme.faint };
  return {
    layout: {
      background: { type: ColorType.Solid, color: theme.paper },
      textColor: theme.faint,
      fontFamily: FONT,
      fontSize: 11,
      attributionLogo: true, // as its licence's notice asks for
      panes: { separatorColor: theme.grid, separatorHoverColor: faded(theme.fast, 0.25), enableResize: true },
    },
    grid: { vertLines: { color: faded(theme.grid, 0.6) }, horzLines: { color: faded(theme.grid, 0.6) } },
    crosshair: { mode: CrosshairMode.Normal, vertLine: line, horzLine: line },
    rightPriceScale: { borderVisible: false, minimumWidth: 64, entireTextOnly: true },
    timeScale: {
      borderColor: theme.grid,
      timeVisible: !setup.daily,
      secondsVisible: setup.seconds < 60,
      tickMarkFormatter: tick,
      minBarSpacing: 0.2,
    },
    localization: {
      locale: "en-US",
      timeFormatter: (wall) => moment(wall, setup.daily),
    },
  };
}
