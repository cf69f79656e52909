package reports

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// none stands where a figure is missing.
const none = "–"

// commas writes a whole number with thousands apart: 3,750,000.
func commas(n int64) string {
	s := strconv.FormatInt(n, 10)
	sign := ""
	if n < 0 {
		sign, s = "-", s[1:]
	}
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return sign + s
}

// figure writes a number with three significant digits and no exponent.
func figure(v float64) string {
	a := math.Abs(v)
	switch {
	case v == 0:
		return "0"
	case a >= 1000:
		return commas(int64(math.Round(v)))
	case a >= 100:
		return strconv.FormatFloat(v, 'f', 0, 64)
	case a >= 10:
		return strconv.FormatFloat(v, 'f', 1, 64)
	case a >= 1:
		return strconv.FormatFloat(v, 'f', 2, 64)
	default:
		return strconv.FormatFloat(v, 'f', 3, 64)
	}
}

// figureOr is figure of a number that may be missing.
func figureOr(v *float64) string {
	if v == nil {
		return none
	}
	return figure(*v)
}

// byteSize writes a number of bytes with its binary unit: 3.10 KiB.
func byteSize(v float64) string {
	units := []string{"B", "KiB", "MiB", "GiB", "TiB"}
	i := 0
	for math.Abs(v) >= 1024 && i < len(units)-1 {
		v /= 1024
		i++
	}
	if i == 0 {
		return strconv.FormatFloat(math.Round(v), 'f', 0, 64) + " B"
	}
	return figure(v) + " " + units[i]
}

func byteSizeOr(v *float64) string {
	if v == nil {
		return none
	}
	return byteSize(*v)
}

// withUnit writes a figure as its unit asks.
func withUnit(v float64, unit string) string {
	switch unit {
	case "bytes":
		return byteSize(v)
	case "":
		if v == math.Trunc(v) && math.Abs(v) < 1e15 {
			return commas(int64(v))
		}
		return strconv.FormatFloat(v, 'g', 6, 64)
	default:
		return figure(v) + " " + unit
	}
}

// plural is "1 delivery", "2 deliveries", "2 messages".
func plural(n int64, one string) string {
	if n == 1 {
		return "1 " + one
	}
	if stem, ok := strings.CutSuffix(one, "y"); ok {
		return commas(n) + " " + stem + "ies"
	}
	return commas(n) + " " + one + "s"
}

// wrap breaks text at spaces into lines of at most width characters.
func wrap(text string, width int) []string {
	var lines []string
	line := ""
	for _, word := range strings.Fields(text) {
		if line != "" && len(line)+1+len(word) > width {
			lines = append(lines, line)
			line = ""
		}
		if line != "" {
			line += " "
		}
		line += word
	}
	if line != "" {
		lines = append(lines, line)
	}
	return lines
}

// seconds writes a length of time in milliseconds as people say it.
func seconds(ms float64) string {
	switch {
	case ms >= 60_000:
		return fmt.Sprintf("%d m %02d s", int(ms/60_000), int(math.Mod(ms, 60_000)/1000))
	case ms >= 1000:
		return figure(ms/1000) + " s"
	default:
		return figure(ms) + " ms"
	}
}
