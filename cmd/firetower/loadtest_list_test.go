package main

import (
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"

	"firetower/scenarios"
)

func TestLoadtestList(t *testing.T) {
	t.Parallel()
	code, stdout, stderr := cli(t, "loadtest", "list")
	if code != exitOK {
		t.Fatalf("exit code %d: %s", code, stderr)
	}
	at := map[string]int{}
	for _, name := range scenarios.Names() {
		i := strings.Index(stdout, "\n"+name+" ")
		if i < 0 {
			t.Errorf("%s is not listed:\n%s", name, stdout)
		}
		at[name] = i
	}
	for line := range strings.Lines(stdout) {
		if n := utf8.RuneCountInString(strings.TrimRight(line, "\n")); n > 100 {
			t.Errorf("a line of %d characters: %s", n, line)
		}
	}
	for _, order := range [][]string{
		{"smoke", "1k-group", "10k-group", "50k-group", "capacity-search", "idle-10k", "idle-50k", "never-reads", "gateway-kill", "reconnect-storm"},
	} {
		for i := 1; i < len(order); i++ {
			if at[order[i]] < at[order[i-1]] {
				t.Errorf("%s stands before %s:\n%s", order[i], order[i-1], stdout)
			}
		}
	}
	if code, _, stderr := cli(t, "loadtest", "list", "smoke"); code != exitUsage || !strings.Contains(stderr, `takes no arguments, got "smoke"`) {
		t.Errorf("exit code %d: %s", code, stderr)
	}
}

func TestLoadtestListAsJSON(t *testing.T) {
	t.Parallel()
	code, stdout, stderr := cli(t, "loadtest", "list", "--json")
	var got []listedScenario
	if err := json.Unmarshal([]byte(stdout), &got); err != nil || code != exitOK {
		t.Fatalf("exit code %d, %v: %s", code, err, stderr)
	}
	if len(got) != len(scenarios.Names()) {
		t.Errorf("%d of %d scenarios", len(got), len(scenarios.Names()))
	}
	for _, s := range got {
		if s.Name == "" || s.Purpose == "" || s.Connections == 0 || s.DurationSeconds == 0 || s.Descriptors == 0 || s.MemoryBytes == 0 {
			t.Errorf("%+v", s)
		}
	}
}

func TestLoadtestValidate(t *testing.T) {
	t.Parallel()
	const good = "version = 1\nname = \"mine\"\npurpose = \"p\"\nconnections = 10\n"
	p := newProcess("loadtest", "validate", "good.toml", "bad.toml", "worse.toml", "huge.toml", "none.toml").withFiles(map[string]string{
		"good.toml": good, "bad.toml": good + "[load]\nrat = \"5/s\"\n", "worse.toml": good + "[gateway.bucket]\nNmu = 3\n[manager]\nheartbeat = \"soon\"\n",
		"huge.toml": strings.Replace(good, "= 10\n", "= 900000\n", 1),
	})
	if code := p.run(t); code != exitUsage {
		t.Errorf("exit code %d", code)
	}
	for _, want := range []string{
		"good.toml: ok, mine: about ", "huge.toml: ok, mine: about ", "huge.toml: note: the plan does not fit this machine",
	} {
		if !strings.Contains(p.stdout.String(), want) {
			t.Errorf("lacks %q:\n%s", want, p.stdout)
		}
	}
	for _, want := range []string{
		`bad.toml:6: load.rat: unknown key, did you mean "load.rate"?`, "worse.toml:6: gateway.bucket.Nmu: unknown key, did you mean bucket.Num?", "worse.toml:8: manager.heartbeat: ", "none.toml",
	} {
		if !strings.Contains(p.stderr.String(), want) {
			t.Errorf("lacks %q:\n%s", want, p.stderr)
		}
	}
	if code, _, stderr := cli(t, "loadtest", "validate"); code != exitUsage || !strings.Contains(stderr, "name one scenario file or more") {
		t.Errorf("exit code %d: %s", code, stderr)
	}
}
