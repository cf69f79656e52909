package main

import (
	"encoding/json"
	"os"
	"strings"
	"testing"

	"firetower/config"
)

func TestConfigCheck(t *testing.T) {
	t.Parallel()
	files := map[string]string{
		"fireTower.toml":   "[bucket]\nNum = 8\n",
		"topicmanage.toml": "servicetimeout = 8\n[socket]\nport = 7\n",
		"bad/tower.toml":   "chanLens = 0\n[bucket]\nNmu = 8\n",
		"x.toml":           "heartbeat = 3\n",
	}
	for _, tt := range []struct {
		args string
		env  []string
		code int
		out  string
		err  string
	}{
		{"config check --config fireTower.toml", nil, exitOK, "gateway: fireTower.toml: ok, 1 of 71 settings are not by default\n", ""},
		{"config check --config topicmanage.toml", nil, exitOK, "manager: topicmanage.toml: ok, 0 of 22 settings are not by default\n" +
			"manager: note: topicmanage.toml:1: servicetimeout: has no effect: a link is given up after two silent heartbeats; remove this key\n", ""},
		{"config check manager --config x.toml", nil, exitOK, "manager: x.toml: ok, 1 of 22 settings are not by default\n", ""},
		{"config check", []string{"FIRETOWER_BUCKET_NUM=2"}, exitOK, "gateway: defaults and environment: ok, 1 of 71 settings are not by default\n" +
			"manager: defaults and environment: ok, 0 of 22 settings are not by default\n", ""},
		{"config check --config bad/tower.toml", nil, exitUsage, "", "firetower config check: gateway: 2 problems in the configuration:\n" +
			"  bad/tower.toml:1: chanLens: must be from 1 to 16777216, got 0\n  bad/tower.toml:3: bucket.Nmu: unknown key, did you mean bucket.Num?\n"},
		{"config check", []string{"FIRETOWER_LOG_LEVEL=x"}, exitUsage, "", "firetower config check: gateway: " +
			"configuration: FIRETOWER_LOG_LEVEL: log.level: must be debug, info, warn or error, got \"x\"\n" +
			"manager: configuration: FIRETOWER_LOG_LEVEL: log.level: must be debug, info, warn or error, got \"x\"\n"},
		{"config check gateway --config none.toml", nil, exitUsage, "", "firetower config check: gateway: configuration: none.toml: file does not exist\n"},
	} {
		t.Run(tt.args+strings.Join(tt.env, " "), func(t *testing.T) {
			t.Parallel()
			p := newProcess(strings.Fields(tt.args)...).withFiles(files).withEnv(tt.env...)
			if code := p.run(t); code != tt.code || p.stdout.String() != tt.out || p.stderr.String() != tt.err {
				t.Errorf("exit code %d\n%s%s\nwant %d\n%s%s", code, p.stdout, p.stderr, tt.code, tt.out, tt.err)
			}
		})
	}
}

// The shipped files are right, by the name that they have.
func TestShippedFilesAreRight(t *testing.T) {
	t.Parallel()
	for _, s := range []config.Service{config.ServiceGateway, config.ServiceManager} {
		p := newProcess("config", "check", "--config", "../../config/"+s.ExampleFile())
		p.state.readFile = os.ReadFile
		if code := p.run(t); code != exitOK || !strings.HasPrefix(p.stdout.String(), string(s)+": ") {
			t.Errorf("exit code %d\n%s%s", code, p.stdout, p.stderr)
		}
		code, stdout, _ := cli(t, "config", "example", string(s))
		shipped, err := os.ReadFile("../../config/" + s.ExampleFile())
		if err != nil || code != exitOK || stdout != string(shipped) {
			t.Errorf("config example %s is not what is shipped (%v)", s, err)
		}
	}
}

func TestConfigPrint(t *testing.T) {
	t.Parallel()
	files := map[string]string{"fireTower.toml": "[bucket]\nNum = 8\n[link]\ntoken = 'hunter2'\n"}
	p := newProcess("config", "print", "--config", "fireTower.toml", "--set", "log.level=debug").withFiles(files).
		withEnv("FIRETOWER_BUCKET_CONSUMER_NUM=3")
	if code := p.run(t); code != exitOK {
		t.Fatalf("exit code %d: %s", code, p.stderr)
	}
	out := p.stdout.String()
	for _, want := range []string{
		"\nNum = 8 ", "# file fireTower.toml:2\n", "\nConsumerNum = 3 ", "# environment FIRETOWER_BUCKET_CONSUMER_NUM\n",
		"\nlevel = \"debug\" ", "# flag --set\n", "# token = \"(set, not shown)\"", "\nlisten = \"127.0.0.1:9999\" ", "# default\n",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in:\n%s", want, out)
		}
	}
	if strings.Contains(out, "hunter2") {
		t.Error("the token is printed")
	}

	p = newProcess("config", "print")
	if code := p.run(t); code != exitOK || !strings.HasPrefix(p.stdout.String(), "# gateway\n") || !strings.Contains(p.stdout.String(), "\n# manager\nheartbeat = \"5s\"") {
		t.Errorf("exit code %d\n%s", code, p.stdout)
	}

	p = newProcess("config", "print", "--json", "gateway").withEnv("FIRETOWER_LINK_TOKEN=hunter2")
	code := p.run(t)
	var settings map[string][]config.Setting
	if err := json.Unmarshal([]byte(p.stdout.String()), &settings); err != nil || code != exitOK {
		t.Fatalf("exit code %d: %v\n%s", code, err, p.stdout)
	}
	found := false
	for _, s := range settings["gateway"] {
		if s.Key == "link.token" {
			found = s.Secret && s.Value != "hunter2" && s.Origin.Name == "FIRETOWER_LINK_TOKEN"
		}
	}
	if !found || strings.Contains(p.stdout.String(), "hunter2") {
		t.Errorf("printed:\n%s", p.stdout)
	}
}
