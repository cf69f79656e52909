package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"firetower/config"
)

// get fetches a page of a service.
func get(t *testing.T, url string) (status int, body string) {
	t.Helper()
	// No connection is kept: it would be a goroutine that is left.
	c := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: patience}
	r, err := c.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	b, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return r.StatusCode, string(b)
}

// awaitSubscribers polls until the manager knows so many subscribers of a topic.
func awaitSubscribers(t *testing.T, grpcAddr, topic string, want int64, more ...string) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for {
		code, stdout, stderr := cli(t, append([]string{"topics", "--json", "--manager-grpc", grpcAddr, "--prefix", topic}, more...)...)
		var list topicsJSON
		if err := json.Unmarshal([]byte(stdout), &list); err != nil || code != exitOK {
			t.Fatalf("topics: %d %v\n%s%s", code, err, stdout, stderr)
		}
		var got int64
		for _, one := range list.Topics {
			if one.Topic == topic {
				got = one.Subscribers
			}
		}
		if got == want {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s has %d subscribers, want %d", topic, got, want)
		}
		pause()
	}
}

func TestServeIsReadyToUse(t *testing.T) {
	t.Parallel()
	p := newProcess(append([]string{"serve"}, anyPorts("serve")...)...)
	at := startService(t, p)
	if at.Role != "serve" || at.PID != 4711 || at.Link == "" || at.GRPC == "" || at.HTTP == "" || at.Listen == "" {
		t.Fatalf("announcement: %+v", at)
	}
	url := "ws://" + at.Listen + "/ws"

	one := newProcess("subscribe", "room-1", "--url", url, "--count", "2")
	one.start()
	two := newProcess("subscribe", "room-1", "room-2", "--url", url, "--json", "--count", "4")
	two.state.now = func() time.Time { return time.Date(2030, 1, 2, 3, 4, 5, 6, time.UTC) }
	two.start()
	awaitSubscribers(t, at.GRPC, "room-1", 2)
	awaitSubscribers(t, at.GRPC, "room-2", 1)

	for _, publish := range []struct {
		process *process
		want    string
	}{
		{newProcess("publish", "room-1", `{"a": 1}`), "room-1: taken by 1 of 1 gateway with subscribers\n"},
		{newProcess("publish", "room-2").withStdin("line\n"), "room-2: taken by 1 of 1 gateway with subscribers\n"},
		{newProcess("publish", "room-2", "-").withStdin("\x00\xff"), "room-2: taken by 1 of 1 gateway with subscribers\n"},
		{newProcess("publish", "room-1", "", "--json"), "{\n  \"topic\": \"room-1\",\n  \"ok\": true,\n  \"gateways\": 1,\n  \"queued\": 1\n}\n"},
		{newProcess("publish", "room-3", "x"), "room-3: nobody subscribes to it\n"},
	} {
		publish.process.state.args = append(publish.process.state.args, "--manager-grpc", at.GRPC)
		if code := publish.process.run(t); code != exitOK || publish.process.stdout.String() != publish.want {
			t.Errorf("%q: exit code %d: %s%s", publish.process.state.args, code, publish.process.stdout, publish.process.stderr)
		}
	}
	if code := one.wait(t); code != exitOK || one.stdout.String() != "{\"a\": 1}\n\n" {
		t.Errorf("subscribe: exit code %d: %q %s", code, one.stdout, one.stderr)
	}
	code := two.wait(t)
	// Topics are ordered each for itself.
	got := map[string][]string{}
	for line := range strings.Lines(two.stdout.String()) {
		var m messageJSON
		if err := json.Unmarshal([]byte(line), &m); err != nil || !strings.Contains(line, `"received":"2030-01-02T03:04:05.000000006Z"`) {
			t.Errorf("line %q: %v", line, err)
		}
		text := "-"
		if m.Text != nil {
			text = *m.Text
		}
		got[m.Topic] = append(got[m.Topic], fmt.Sprintf("%s|%s|%x", m.Data, text, m.Base64))
	}
	if want := map[string][]string{"room-1": {`{"a":1}|-|`, "||"}, "room-2": {"|line\n|", "|-|00ff"}}; code != exitOK || fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("subscribe --json: exit code %d: %q, want %q %s", code, got, want, two.stderr)
	}

	if status, body := get(t, "http://"+at.HTTP+"/healthz"); status != http.StatusOK {
		t.Errorf("/healthz: %d %s", status, body)
	}
	_, metrics := get(t, "http://"+at.HTTP+"/metrics")
	for _, want := range []string{"firetower_gateway_", "firetower_manager_", "go_goroutines", "process_"} {
		if !strings.Contains(metrics, "\n"+want) {
			t.Errorf("/metrics has no %s", want)
		}
	}
}

func TestManagerAndGatewayApart(t *testing.T) {
	t.Parallel()
	files := map[string]string{"token": "hunter2\n"}
	m := startService(t, newProcess(append([]string{"manager"}, anyPorts("manager")...)...).withEnv("FIRETOWER_LINK_TOKEN=hunter2"))
	if m.Role != "manager" || m.Link == "" || m.GRPC == "" || m.HTTP == "" || m.Listen != "" {
		t.Errorf("announcement: %+v", m)
	}
	var subs []*process
	for _, id := range []string{"left", "right"} {
		p := newProcess(append([]string{
			"gateway", "--manager-link", m.Link, "--manager-grpc", m.GRPC, "--token-file", "token", "--cluster-id", id,
		}, anyPorts("gateway")...)...).withFiles(files)
		gw := startService(t, p)
		if gw.Role != "gateway" || gw.Listen == "" || gw.HTTP == "" || gw.Link != "" || gw.GRPC != "" {
			t.Errorf("announcement: %+v", gw)
		}
		if status, body := get(t, "http://"+gw.HTTP+"/readyz"); status != http.StatusOK {
			t.Errorf("/readyz: %d %s", status, body)
		}
		if _, metrics := get(t, "http://"+gw.HTTP+"/metrics"); !strings.Contains(metrics, "\ngo_goroutines") {
			t.Error("/metrics has no go_goroutines")
		}
		sub := newProcess("subscribe", "room", "--url", "ws://"+gw.Listen+"/ws")
		sub.start()
		subs = append(subs, sub)
		t.Cleanup(func() {
			sub.signals <- syscall.SIGINT
			if code := sub.wait(t); code != exitOK || sub.stdout.String() != "\"hi\"\n" {
				t.Errorf("subscribe ended with %d: %q %s", code, sub.stdout, sub.stderr)
			}
		})
	}
	auth := newProcess("publish", "room", `"hi"`, "--manager-grpc", m.GRPC)
	if code := auth.run(t); code != exitError || !strings.HasSuffix(auth.stderr.String(), "\nGive the manager's token with --token-file FILE or FIRETOWER_LINK_TOKEN.\n") {
		t.Errorf("publish without a token: exit code %d: %s", code, auth.stderr)
	}
	other := newProcess("publish", "room", `"hi"`, "--manager-grpc", m.GRPC).withEnv("FIRETOWER_LINK_TOKEN=hunter3")
	if code := other.run(t); code != exitError || !strings.Contains(other.stderr.String(), ": authorization: the token given is not this manager's\nThe token that was sent, ") {
		t.Errorf("publish with another token: exit code %d: %s", code, other.stderr)
	}
	ask := func(args ...string) string {
		t.Helper()
		p := newProcess(append(args, "--manager-grpc", m.GRPC, "--token-file", "token")...).withFiles(files)
		if code := p.run(t); code != exitOK {
			t.Fatalf("%q: exit code %d: %s", args, code, p.stderr)
		}
		return p.stdout.String()
	}
	deadline := time.Now().Add(patience)
	for ask("topics") != "TOPIC  SUBSCRIBERS  GATEWAYS\nroom   2            2\n" {
		if time.Now().After(deadline) {
			t.Fatalf("topics:\n%s", ask("topics"))
		}
		pause()
	}
	if got := ask("topics", "--prefix", "none", "--json"); got != "{\n  \"total\": 0,\n  \"topics\": []\n}\n" {
		t.Errorf("topics of none: %s", got)
	}
	var list []gatewayJSON
	if err := json.Unmarshal([]byte(ask("gateways", "--json")), &list); err != nil || len(list) != 2 || list[0].State != "live" || list[0].Subscribers != 1 {
		t.Errorf("gateways: %+v %v", list, err)
	}
	if got := ask("gateways"); !strings.HasPrefix(got, "GATEWAY") || !strings.Contains(got, "\nleft ") || !strings.Contains(got, "\nright ") {
		t.Errorf("gateways:\n%s", got)
	}
	if got := ask("publish", "room", `"hi"`); got != "room: taken by 2 of 2 gateways with subscribers\n" {
		t.Errorf("publish: %s", got)
	}
	for args, want := range map[string]string{
		"kick --user nobody":              "told 2 gateways to disconnect user nobody\n",
		"kick --topic none":               "told 2 gateways to unsubscribe everybody from none\n",
		"kick --topic none --user nobody": "told 2 gateways to unsubscribe user nobody from none\n",
		"kick --topic none --json":        "{\n  \"gateways\": 2\n}\n",
	} {
		if got := ask(strings.Fields(args)...); got != want {
			t.Errorf("%s: %q, want %q", args, got, want)
		}
	}
	for _, sub := range subs {
		sub.stdout.awaitText(t, "\"hi\"\n")
	}
}

func TestAddressInUse(t *testing.T) {
	t.Parallel()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { taken.Close() })
	for _, tt := range []struct{ command, flag string }{
		{"serve", "--link"},
		{"serve", "--grpc"},
		{"serve", "--http"},
		{"serve", "--listen"},
		{"manager", "--link"},
		{"manager", "--http"},
		{"gateway", "--listen"},
		{"gateway", "--http"},
	} {
		t.Run(tt.command+" "+tt.flag, func(t *testing.T) {
			t.Parallel()
			args := append([]string{tt.command}, anyPorts(tt.command)...)
			code, stdout, stderr := cli(t, append(args, tt.flag, taken.Addr().String(), "--announce")...)
			want := fmt.Sprintf("Something listens on %s already, perhaps another Firetower. Stop it, or choose another with %s HOST:PORT; port 0 takes a free one.\n",
				taken.Addr(), tt.flag)
			if code != exitError || stdout != "" || !strings.HasSuffix(stderr, want) {
				t.Errorf("exit code %d, standard output %q, standard error:\n%s\nwant it to end with\n%s", code, stdout, stderr, want)
			}
		})
	}
	t.Run("an address of another machine", func(t *testing.T) {
		t.Parallel()
		// 192.0.2.0/24 is nobody's (RFC 5737); nothing is sent there.
		code, _, stderr := cli(t, "manager", "--grpc", "127.0.0.1:0", "--http", "127.0.0.1:0", "--link", "192.0.2.1:6666")
		if code != exitError || !strings.Contains(stderr, "This machine has no address 192.0.2.1:6666. Choose another with --link HOST:PORT.\n") {
			t.Errorf("exit code %d: %s", code, stderr)
		}
	})
}

func TestGatewaySaysWhatItWaitsFor(t *testing.T) {
	t.Parallel()
	nobody, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := nobody.Addr().String()
	nobody.Close()
	p := newProcess(append([]string{"gateway", "--manager-link", addr, "--manager-grpc", addr, "--announce"}, anyPorts("gateway")...)...)
	fired := make(chan time.Time, 1)
	fired <- time.Time{}
	p.state.after = func(time.Duration) <-chan time.Time { return fired }
	p.start()
	p.stderr.awaitText(t, "no manager yet: start one with 'firetower manager'")
	p.signals <- syscall.SIGTERM
	if code := p.wait(t); code != exitOK || p.stdout.String() != "" || !strings.Contains(p.stderr.String(), "manager_link="+addr) {
		t.Errorf("exit code %d, standard output %q: %s", code, p.stdout, p.stderr)
	}
}

func TestBanner(t *testing.T) {
	t.Parallel()
	p := newProcess(append([]string{"serve"}, anyPorts("serve")...)...)
	p.start()
	p.stderr.awaitText(t, "Ctrl-C stops it.")
	p.signals <- syscall.SIGINT
	if code := p.wait(t); code != exitOK || p.stdout.String() != "" {
		t.Errorf("exit code %d, standard output %q", code, p.stdout)
	}
	for _, want := range []string{"\nFiretower is up.\n  clients    ws://127.0.0.1:", "\n  dashboard  http://127.0.0.1:", "firetower subscribe room-1 --url ws://127.0.0.1:", "--manager-grpc 127.0.0.1:"} {
		if !strings.Contains(p.stderr.String(), want) {
			t.Errorf("no %q in:\n%s", want, p.stderr)
		}
	}

	var plain bytes.Buffer
	if err := banner(&plain, announcement{Link: "0.0.0.0:6666", GRPC: "0.0.0.0:6667", Listen: "[::]:9999"}, "/ws", &config.Gateway{}); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(plain.String(), "\n  firetower subscribe room-1\n  firetower publish room-1 '\"hello\"'\n") || strings.Contains(plain.String(), "dashboard") {
		t.Errorf("banner at the usual addresses:\n%s", &plain)
	}
	plain.Reset()
	asks := &config.Gateway{Auth: config.Auth{SecretFile: "secret"}}
	if err := banner(&plain, announcement{Link: "0.0.0.0:6666", GRPC: "0.0.0.0:6667", Listen: "[::]:9999"}, "/ws", asks); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(plain.String(), "\n  firetower subscribe room-1 --header \"Authorization: Bearer $TOKEN\"     ('firetower token' makes one)\n") {
		t.Errorf("banner where tokens are asked for:\n%s", &plain)
	}
}

// With a log that machines read, nothing but the log is written.
func TestJSONLog(t *testing.T) {
	t.Parallel()
	p := newProcess(append([]string{"serve", "--log-format", "json", "--log-level", "debug"}, anyPorts("serve")...)...).
		withEnv("FIRETOWER_TOPIC_SERVICE_ADDR=127.0.0.1:1")
	p.start()
	p.stderr.awaitText(t, "gateway linked")
	p.signals <- syscall.SIGINT
	if code := p.wait(t); code != exitOK {
		t.Errorf("exit code %d", code)
	}
	for line := range strings.Lines(p.stderr.String()) {
		if !json.Valid([]byte(line)) {
			t.Errorf("no JSON: %q", line)
		}
	}
	if want := "FIRETOWER_TOPIC_SERVICE_ADDR: topicServiceAddr is not used"; !strings.Contains(p.stderr.String(), want) {
		t.Errorf("no %q in:\n%s", want, p.stderr)
	}
}

// brokenPipe is a standard output that nobody reads any more.
type brokenPipe struct{}

func (brokenPipe) Write([]byte) (int, error) { return 0, syscall.EPIPE }

// A service that cannot say that it is ready ends: whoever started it is gone.
func TestAnnouncementMustArrive(t *testing.T) {
	t.Parallel()
	for _, command := range []string{"serve", "manager"} {
		p := newProcess(append([]string{command, "--announce"}, anyPorts(command)...)...)
		p.state.stdout = brokenPipe{}
		if code := p.run(t); code != exitError || !strings.HasSuffix(p.stderr.String(), "firetower "+command+": announce: broken pipe\n") {
			t.Errorf("exit code %d: %s", code, p.stderr)
		}
	}
}

func TestWarnsOfAnOpenDoor(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, token string
		at          config.Address
		warns       bool
	}{
		{"all interfaces", "", config.Address{Port: 1, On: true}, true},
		{"one interface", "", config.Address{Host: "10.0.0.1", Port: 1, On: true}, true},
		{"with a token", "x", config.Address{Port: 1, On: true}, false},
		{"loopback", "", config.Address{Host: "127.0.0.2", Port: 1, On: true}, false},
		{"loopback by name", "", config.Address{Host: "localhost", Port: 1, On: true}, false},
		{"IPv6 loopback", "", config.Address{Host: "::1", Port: 1, On: true}, false},
		{"none", "", config.Address{}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var b bytes.Buffer
			warnOpen(slog.New(slog.NewTextHandler(&b, nil)), tt.token, tt.at)
			if warned := strings.Contains(b.String(), "link.tokenFile"); warned != tt.warns {
				t.Errorf("warned: %v\n%s", warned, &b)
			}
		})
	}
}
