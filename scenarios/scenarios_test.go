package scenarios_test

import (
	"errors"
	"flag"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"firetower/scenarios"
)

var update = flag.Bool("update", false, "write the golden files")

func TestEveryScenarioOfTheCatalogueLoads(t *testing.T) {
	t.Parallel()
	names := scenarios.Names()
	for _, want := range []string{
		"smoke", "1k-group", "5k-group", "10k-group", "50k-group", "1k-topics-10-subs", "10-topics-1k-subs", "10k-topics-churn", "burst-5k", "inflight-1k",
		"idle-10k", "idle-50k", "connect-storm", "reconnect-storm", "slow-1pct", "never-reads", "gateway-kill", "gateway-pause",
		"manager-restart", "link-blackhole", "capacity-search", "mixed-payload", "soak",
	} {
		if !slices.Contains(names, want) {
			t.Errorf("the catalogue lacks %s, it has %v", want, names)
		}
	}
	for _, name := range names {
		s, err := scenarios.Open(name)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if s.Name != name {
			t.Errorf("%s.toml says its name is %q", name, s.Name)
		}
		if len(s.Thresholds) == 0 {
			t.Errorf("%s has no thresholds, so nothing can fail it", name)
		}
		if n := len(s.Purpose); n > 57 {
			t.Errorf("%s: a purpose of %d characters does not fit a line of the list", name, n)
		}
	}
}

func TestEncodedScenarioDecodesToTheSame(t *testing.T) {
	t.Parallel()
	for _, name := range scenarios.Names() {
		s, err := scenarios.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Set("gateway.bucket.Num", "8"); err != nil {
			t.Fatal(err)
		}
		if err := s.Set("manager.token", "a secret \"quoted\""); err != nil {
			t.Fatal(err)
		}
		got, err := scenarios.Decode("again.toml", []byte(s.Encode()))
		if err != nil {
			t.Fatalf("%s: %v\n%s", name, err, s.Encode())
		}
		if !reflect.DeepEqual(s, got) {
			t.Errorf("%s changed on the way:\n%+v\n%+v", name, s, got)
		}
	}
}

const minimal = `version = 1
name = "x"
purpose = "p"
connections = 10
`

func TestDecodeRefuses(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, toml string
		want       []string
	}{
		{"no version", "name = \"x\"\npurpose = \"p\"\nconnections = 1", []string{"f.toml: version: is missing"}},
		{"another version", "version = 2\nname = \"x\"\npurpose = \"p\"\nconnections = 1", []string{"f.toml:1: version: this build reads version 1, got 2"}},
		{"unknown key", minimal + "conections = 3", []string{`f.toml:5: conections: unknown key, did you mean "connections"?`}},
		{"unknown key in a table", minimal + "[load]\nrat = \"5/s\"", []string{`f.toml:6: load.rat: unknown key, did you mean "load.rate"?`}},
		{"unknown table", minimal + "[lod]\nrate = \"5/s\"", []string{`f.toml:5: lod: unknown key, did you mean`}},
		{"a hyphen for an underscore", minimal + "[topics]\nper-connection = 1", []string{`f.toml:6: topics.per-connection: unknown key, did you mean "topics.per_connection"?`}},
		{"duration without a unit", minimal + "[phases]\nmeasure = 30", []string{`f.toml:6: phases.measure: wants a duration in quotes with its unit, as "30s", got the number 30`}},
		{"duration with a wrong unit", minimal + "[phases]\nmeasure = \"30 sec\"", []string{`f.toml:6: phases.measure: "30 sec" is not a duration`}},
		{"rate without a unit", minimal + "[load]\nrate = \"5\"", []string{`f.toml:6: load.rate: "5" is not a rate`}},
		{"size without a unit", minimal + "[load]\npayload = \"128\"", []string{`f.toml:6: load.payload: "128" is not a size`}},
		{"size too small", minimal + "[load]\npayload = \"12B\"", []string{"f.toml:6: load.payload: must be 128B to 1MiB"}},
		{"a string for a number", "version = 1\nname = \"x\"\npurpose = \"p\"\nconnections = \"ten\"", []string{`f.toml:4: connections: wants a whole number, got the string "ten"`}},
		{"no connections", "version = 1\nname = \"x\"\npurpose = \"p\"\nconnections = 0", []string{"f.toml:4: connections: must be 1 to 1000000, got 0"}},
		{"unknown mode", minimal + "[load]\nmode = \"opne\"", []string{`f.toml:6: load.mode: must be open, burst, inflight, capacity or idle, got "opne", did you mean "open"?`}},
		{"burst without its size", minimal + "[load]\nmode = \"burst\"", []string{"load.burst: must be 1 to 100000, got 0", "load.every: must be above 0s and at most 24h, got 0s"}},
		{"a key that the mode ignores", minimal + "[load]\nmode = \"idle\"\nrate = \"5/s\"", []string{"f.toml:7: load.rate: is for load.mode = \"open\" alone"}},
		{"unknown threshold metric", minimal + "thresholds = [\"delivery.p98<1ms\"]", []string{`f.toml:5: thresholds: "delivery.p98<1ms": no metric "delivery.p98", did you mean "delivery.p9`}},
		{"threshold without a unit", minimal + "thresholds = [\"delivery.p99<250\"]", []string{`f.toml:5: thresholds: "delivery.p99<250": "250" is not a duration`}},
		{"unknown fault key", minimal + "[[fault]]\nkind = \"manager-restart\"\nwhen = \"3s\"", []string{"f.toml:7: fault[0].when: unknown key"}},
		{"fault kind misspelt", minimal + "[[fault]]\nkind = \"manager-restrat\"\nat = \"3s\"", []string{`f.toml:6: fault[0].kind: must be manager-restart, gateway-kill, gateway-pause, link-blackhole or disconnect, got "manager-restrat", did you mean "manager-restart"?`}},
		{"fault after the end", minimal + "[[fault]]\nkind = \"manager-restart\"\nat = \"300s\"", []string{"f.toml:7: fault[0].at: the fault would end at 5m1s, after the measured 30s"}},
		{"second slow entry", minimal + "[[slow]]\ncount = 1\n[[slow]]\ncount = -1", []string{"f.toml:8: slow[1].count: must be at least 1, got -1"}},
		{"all clients slow", minimal + "[[slow]]\ncount = 10", []string{"f.toml:5: slow: 10 slow clients leave none of 10"}},
		{"inline table", minimal + "load = { rat = \"5/s\" }", []string{"f.toml:5: load.rat: unknown key"}},
		{"too many messages", minimal + "[load]\nrate = \"1000000/s\"", []string{"load: plans 35000000 messages"}},
		{"syntax", minimal + "[load\n", []string{"f.toml:5: "}},
		{"key given twice", minimal + "name = \"y\"", []string{"f.toml:5: "}},
		{"several at once", minimal + "[load]\nrat = 1\n[phases]\nmeasure = \"0s\"", []string{"f.toml:6: load.rat", "f.toml:8: phases.measure: must be above 0s"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			_, err := scenarios.Decode("f.toml", []byte(tt.toml))
			if err == nil {
				t.Fatal("was accepted")
			}
			for _, want := range tt.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("the error lacks %q:\n%v", want, err)
				}
			}
			var p *scenarios.ProblemError
			if !errors.As(err, &p) || p.File != "f.toml" {
				t.Errorf("the error holds no ProblemError of the file: %#v", err)
			}
		})
	}
}

func TestSetOverridesByKey(t *testing.T) {
	t.Parallel()
	s, err := scenarios.Open("smoke")
	if err != nil {
		t.Fatal(err)
	}
	orig := s.Clone()
	for key, text := range map[string]string{
		"load.rate": "7/s", "phases.measure": "1m", "connections": "12", "seed": "9", "gateway.bucket.Num": "16", "thresholds": "lost==0,delivery.p99<1s",
	} {
		if err := s.Set(key, text); err != nil {
			t.Errorf("%s: %v", key, err)
		}
	}
	if s.Load.Rate.PerSecond != 7 || s.Phases.Measure.Duration != time.Minute || s.Connections != 12 || s.Seed != 9 || len(s.Thresholds) != 2 {
		t.Errorf("not all were set: %+v", s)
	}
	if n := s.Gateway["bucket"].(map[string]any)["Num"]; n != int64(16) {
		t.Errorf("gateway.bucket.Num is %#v", n)
	}
	if orig.Connections != 200 || orig.Gateway != nil {
		t.Error("the clone changed with the original")
	}
	for key, text := range map[string]string{"load.rat": "7/s", "load.rate": "7", "connections": "x", "gateway.": "1"} {
		if err := s.Set(key, text); err == nil {
			t.Errorf("%s = %s was accepted", key, text)
		}
	}
}

func TestUnknownScenarioNamesTheNearest(t *testing.T) {
	t.Parallel()
	_, err := scenarios.Open("10k-gruop")
	if !errors.Is(err, scenarios.ErrUnknown) || !strings.Contains(err.Error(), `did you mean "10k-group"?`) {
		t.Errorf("got %v", err)
	}
}

func TestUnits(t *testing.T) {
	t.Parallel()
	rows := []struct {
		parse func(string) (string, error)
		in    string
		want  string // empty: refused
	}{
		{duration, "90s", "1m30s"},
		{duration, "2m", "2m"},
		{duration, "1h", "1h"},
		{duration, "250ms", "250ms"},
		{duration, "-1s", ""},
		{duration, "5", ""},
		{rate, "5/s", "5/s"},
		{rate, "30/m", "0.5/s"},
		{rate, "300/m", "5/s"},
		{rate, "10/m", "10/m"},
		{rate, "7/h", "7/h"},
		{rate, "0.001/s", "0.001/s"},
		{rate, "1000000/s", "1000000/s"},
		{rate, "5/d", ""},
		{rate, "NaN/s", ""},
		{rate, "-5/s", ""},
		{size, "128B", "128B"},
		{size, "4KiB", "4KiB"},
		{size, "1.5KiB", "1536B"},
		{size, "1KB", "1000B"},
		{size, "0.3B", ""},
		{size, "10", ""},
	}
	for _, r := range rows {
		got, err := r.parse(r.in)
		if (err == nil) != (r.want != "") || got != r.want {
			t.Errorf("%q gave %q, %v; want %q", r.in, got, err, r.want)
		}
	}
}

func duration(s string) (string, error) {
	d, err := scenarios.ParseDuration(s)
	if err != nil {
		return "", err
	}
	return d.String(), nil
}

func rate(s string) (string, error) {
	r, err := scenarios.ParseRate(s)
	if err != nil {
		return "", err
	}
	return r.String(), nil
}

func size(s string) (string, error) {
	n, err := scenarios.ParseSize(s)
	if err != nil {
		return "", err
	}
	return n.String(), nil
}

func TestThresholdLimitsAreInBaseUnits(t *testing.T) {
	t.Parallel()
	rows := []struct {
		text  string
		limit float64
		op    scenarios.Op
	}{
		{"delivery.p99 < 1.5s", 1500, "<"},
		{"delivery.p99.9<=250ms", 250, "<="},
		{"server.cpu_us_per_delivery<5.6us", 5.6, "<"},
		{"server.rss_bytes_per_connection<8KiB", 8192, "<"},
		{"reach>=99.9%", 0.999, ">="},
		{"deliveries_per_second>1000/s", 1000, ">"},
		{"lost!=0", 0, "!="},
	}
	for _, r := range rows {
		got, err := scenarios.ParseThreshold(r.text)
		if err != nil || got.Limit != r.limit || got.Op != r.op {
			t.Errorf("%q gave %+v, %v", r.text, got, err)
		}
	}
	for _, bad := range []string{"", "lost", "lost=0", "lost<", "lost<5ms", "<5", "delivery.p99<5/s", "reach>x"} {
		if _, err := scenarios.ParseThreshold(bad); err == nil {
			t.Errorf("%q was accepted", bad)
		}
	}
}

func TestKeysGolden(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	for _, k := range scenarios.Keys() {
		b.WriteString(k.Name + " = " + k.Default + "  # " + k.Doc + "\n")
	}
	path := filepath.Join("testdata", "keys.golden")
	if *update {
		if err := os.WriteFile(path, []byte(b.String()), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if b.String() != string(want) {
		t.Errorf("the keys changed; run with -update if it is meant:\n%s", b.String())
	}
}

func FuzzDecode(f *testing.F) {
	for _, name := range scenarios.Names() {
		s, err := scenarios.Open(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(s.Encode())
	}
	f.Fuzz(func(t *testing.T, text string) {
		s, err := scenarios.Decode("f.toml", []byte(text))
		if err != nil {
			return
		}
		again, err := scenarios.Decode("f.toml", []byte(s.Encode()))
		if err != nil {
			t.Fatalf("accepted once, refused when printed: %v\n%s", err, s.Encode())
		}
		if again.Encode() != s.Encode() {
			t.Fatalf("printed twice, two texts:\n%s\n%s", s.Encode(), again.Encode())
		}
	})
}

// The one group of slow clients can be set, and taken away with what must hold of it.
func TestSetOfSlowClients(t *testing.T) {
	t.Parallel()
	s, err := scenarios.Open("never-reads")
	if err != nil {
		t.Fatal(err)
	}
	with := s.Clone()
	for key, text := range map[string]string{"slow.kind": "slow-writer", "slow.count": "7"} {
		if err := with.Set(key, text); err != nil {
			t.Fatal(err)
		}
	}
	if g := with.Slow[0]; g.Kind != scenarios.SlowWriter || g.Count != 7 || s.Slow[0].Count != 1 {
		t.Errorf("set %+v, and the scenario that it is a copy of has %+v", g, s.Slow[0])
	}
	if err := with.Set("slow.count", "0"); err != nil || len(with.Slow) != 0 || len(with.Thresholds) != len(s.Thresholds)-1 {
		t.Errorf("%d groups and %d thresholds are left (%v)", len(with.Slow), len(with.Thresholds), err)
	}
	if err := with.Validate(); err != nil {
		t.Error(err)
	}
	// What the file says of a slow reader is no hindrance to another kind.
	readers, err := scenarios.Open("slow-1pct")
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(readers.Set("slow.rate", "3/s"), readers.Set("slow.kind", "half-open"), readers.Validate()); err != nil {
		t.Error(err)
	}
	if err := errors.Join(readers.Set("slow.kind", "slow-reader"), readers.Validate()); err != nil || readers.Slow[0].Rate.PerSecond != 1 {
		t.Errorf("%+v: %v", readers.Slow[0], err)
	}
	for key, want := range map[string]string{"slow.count": "needs a scenario with one [[slow]], this one has 0", "slow.cuont": `did you mean "count"`} {
		if err := with.Set(key, "1"); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", key, err, want)
		}
	}
}
