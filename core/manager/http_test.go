package manager_test

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"

	"firetower/core/manager"
	"firetower/core/protocol"
	"firetower/core/topicpb"
)

// get asks the manager's HTTP side, and reads all of the answer.
func (h *hub) get(path string, header ...string) (*http.Response, string) {
	h.t.Helper()
	req, err := http.NewRequestWithContext(context.Background(), http.MethodGet, "http://"+h.Addrs().HTTP.String()+path, nil)
	if err != nil {
		h.t.Fatal(err)
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	res, err := client.Do(req)
	if err != nil {
		h.t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		h.t.Fatal(err)
	}
	return res, string(body)
}

// TestU4_23c_DashboardContract: what the page and its JSON are. A client that
// reads it may rely on these names.
func TestU4_23c_DashboardContract(t *testing.T) {
	h := startHub(t, func(o *manager.Options) { o.Version = "v1.2.3" })
	g := joinHub(t, h, "gw-1", map[string]int64{"room/1": 3, "room/2": 5, `<script>alert(1)</script>`: 1})
	joinHub(t, h, "gw-2", map[string]int64{"room/1": 4})
	h.publish("room/1", "hello")
	h.publish("nobody", "hello")
	eventually(t, "the message", func() bool { return len(g.packets()) == 1 })
	eventually(t, "the message counted as sent", func() bool { return h.gateway("gw-1").GetSentMessages() == 1 })

	t.Run("/topic", func(t *testing.T) {
		res, body := h.get("/topic?limit=2")
		want := `{"topics":[{"topic":"room/1","subscribers":7,"gateways":2},{"topic":"room/2","subscribers":5,"gateways":1}],"total":3}`
		if res.StatusCode != http.StatusOK || strings.TrimSpace(body) != want {
			t.Fatalf("%s\n%s\nwant\n%s", res.Status, body, want)
		}
		if ct := res.Header.Get("Content-Type"); ct != "application/json; charset=utf-8" {
			t.Errorf("Content-Type = %q", ct)
		}
		if _, body := h.get("/topic?prefix=room/2"); !strings.Contains(body, `"total":1}`) {
			t.Errorf("with a prefix: %s", body)
		}
		if _, body := h.get("/topic?prefix=zzz"); strings.TrimSpace(body) != `{"topics":[],"total":0}` {
			t.Errorf("nothing found is an empty list: %s", body)
		}
		for _, limit := range []string{"0", "-1", "x", "10001"} {
			if res, body := h.get("/topic?limit=" + limit); res.StatusCode != http.StatusBadRequest || !strings.Contains(body, "limit") {
				t.Errorf("limit=%s: %s %s", limit, res.Status, body)
			}
		}
	})

	t.Run("/api/overview", func(t *testing.T) {
		_, body := h.get("/api/overview?q=oom/1")
		var o struct {
			Manager  struct{ ID, Version string }
			Totals   struct{ Topics, Subscribers int64 }
			Counters struct {
				Publishes                             map[string]uint64
				Queued, Deliveries, LinkBytes, Missed uint64
			}
			Drops, Evictions map[string]uint64
			Gateways         []struct {
				ID, State, Remote string
				Topics            int64
				Subscribers       int64
				Sent              uint64
			}
			Topics        []struct{ Topic string }
			TopicsMatched int64 `json:"topics_matched"`
		}
		if err := json.Unmarshal([]byte(body), &o); err != nil {
			t.Fatalf("%v in %s", err, body)
		}
		if o.Manager.ID == "" || o.Manager.Version != "v1.2.3" || o.Totals.Topics != 3 || o.Totals.Subscribers != 13 {
			t.Errorf("manager and totals: %s", body)
		}
		if o.Counters.Publishes["grpc"] != 2 || o.Counters.Queued != 2 || o.Counters.Deliveries != 7 {
			t.Errorf("counters: %s", body)
		}
		if len(o.Gateways) != 2 || o.Gateways[0].ID != "gw-1" || o.Gateways[0].State != "live" || o.Gateways[0].Subscribers != 9 || o.Gateways[0].Sent != 1 {
			t.Errorf("gateways: %s", body)
		}
		if len(o.Topics) != 1 || o.Topics[0].Topic != "room/1" || o.TopicsMatched != 1 {
			t.Errorf("topics with a filter: %s", body)
		}
		if _, ok := o.Drops["queue_full"]; !ok || len(o.Evictions) == 0 {
			t.Errorf("every reason is there from the start: %s", body)
		}
	})

	t.Run("page", func(t *testing.T) {
		res, page := h.get("/")
		if res.StatusCode != http.StatusOK || !strings.HasPrefix(res.Header.Get("Content-Type"), "text/html") {
			t.Fatalf("%s, %s", res.Status, res.Header.Get("Content-Type"))
		}
		csp := res.Header.Get("Content-Security-Policy")
		for _, want := range []string{"default-src 'none'", "script-src 'self'", "style-src 'self'", "frame-ancestors 'none'", "base-uri 'none'", "form-action 'none'"} {
			if !strings.Contains(csp, want) {
				t.Errorf("Content-Security-Policy = %q, want %s in it", csp, want)
			}
		}
		if strings.Contains(csp, "unsafe") {
			t.Errorf("Content-Security-Policy = %q", csp)
		}
		files := regexp.MustCompile(`(?:href|src)="([^"]*)"`).FindAllStringSubmatch(page, -1)
		if len(files) < 3 {
			t.Fatalf("the page names %d files", len(files))
		}
		all := page
		for _, f := range files {
			res, body := h.get(f[1])
			if res.StatusCode != http.StatusOK || res.Header.Get("X-Content-Type-Options") != "nosniff" {
				t.Errorf("%s: %s, headers %v", f[1], res.Status, res.Header)
			}
			if strings.HasPrefix(f[1], "/assets/") {
				all += body
			}
		}
		for name, bad := range map[string]string{
			"something from elsewhere": `(https?:)?//[a-z0-9-]+\.[a-z]+(?:/|")`,
			"inline script":            `<script[^>]*>[^<]`,
			"inline style":             ` style=|<style`,
			"inline handler":           ` on[a-z]+="`,
			"markup made of text":      `innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(`,
		} {
			all := strings.ReplaceAll(all, "http://www.w3.org/2000/svg", "") // a name, not an address
			if found := regexp.MustCompile(bad).FindString(all); found != "" {
				t.Errorf("%s: %q", name, found)
			}
		}
		if strings.Contains(page, "alert(1)") {
			t.Error("a topic is in the page itself")
		}
	})

	t.Run("others", func(t *testing.T) {
		for path, status := range map[string]int{
			"/healthz": 200, "/readyz": 200, "/metrics": 200, "/nothing": 404, "/dashboard/index.html": 404,
			"/assets/": 404, "/debug/pprof/": 404,
		} {
			if res, _ := h.get(path); res.StatusCode != status || res.Header.Get("Content-Security-Policy") == "" {
				t.Errorf("%s: %s, want %d; headers %v", path, res.Status, status, res.Header)
			}
		}
		res, err := http.Post("http://"+h.Addrs().HTTP.String()+"/topic", "text/plain", nil)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		http.DefaultClient.CloseIdleConnections()
		if res.StatusCode != http.StatusMethodNotAllowed {
			t.Errorf("POST /topic: %s", res.Status)
		}
	})
}

// TestU4_23c_NoPayloadInLogs, at any level and in any event.
func TestU4_23c_NoPayloadInLogs(t *testing.T) {
	const secret = "a-very-secret-payload"
	logs := new(logBuffer)
	h := startHub(t, func(o *manager.Options) {
		o.Logger = slog.New(slog.NewTextHandler(logs, &slog.HandlerOptions{Level: slog.LevelDebug - 100}))
		o.Token = "a-very-secret-token"
		o.QueueMessages = 1
	})
	g := dialLink(t, h.Addrs().Link.String())
	g.greet(greeting{hello: &topicpb.LinkHello{ClusterId: "gw", Epoch: 1, Token: "a-very-secret-token"}, topics: map[string]int64{"room": 1}})
	ctx := withAuthorization("Bearer a-very-secret-token")
	batch := &topicpb.PublishBatchRequest{}
	for range 500 {
		batch.Messages = append(batch.Messages, &topicpb.PublishRequest{Topic: "room", Data: []byte(secret)})
	}
	if _, err := h.rpc.PublishBatch(ctx, batch); err != nil {
		t.Fatal(err)
	}
	h.rpc.Publish(ctx, &topicpb.PublishRequest{Topic: "a b", Data: []byte(secret)})
	h.rpc.Publish(withAuthorization("Bearer a-very-secret-token-2"), &topicpb.PublishRequest{Topic: "room", Data: []byte(secret)})
	bad := dialLink(t, h.Addrs().Link.String())
	bad.send(protocol.Packet{Type: protocol.PublishKey, Source: protocol.SourceUser, Topic: "room", Body: []byte(secret)})
	bad.awaitClosed()
	if err := h.stop(); err != nil {
		t.Fatal(err)
	}
	if s := logs.String(); !strings.Contains(s, "gateway linked") || strings.Contains(s, "a-very-secret") {
		t.Fatalf("log:\n%s", s)
	}
}

func TestHTTP_Metrics(t *testing.T) {
	h := startHub(t, func(o *manager.Options) { o.Version = "v1.2.3" })
	joinHub(t, h, "gw", map[string]int64{"a": 2, "b": 1})
	h.publish("a", "x")
	_, body := h.get("/metrics")
	for _, want := range []string{
		`firetower_manager_gateways{state="live"} 1`,
		`firetower_manager_gateways{state="detached"} 0`,
		`firetower_manager_topics 2`,
		`firetower_manager_subscribers 3`,
		`firetower_manager_publishes_total{via="grpc"} 1`,
		`firetower_manager_publishes_total{via="link"} 0`,
		`firetower_manager_queued_total 1`,
		`firetower_manager_deliveries_total 2`,
		`firetower_manager_drops_total{reason="queue_full"} 0`,
		`firetower_manager_drops_total{reason="no_body"} 0`,
		`firetower_manager_evictions_total{reason="heartbeat_timeout"} 0`,
		`firetower_manager_link_queue_bytes{gateway="gw"} `,
		`firetower_manager_link_bytes_total `,
		`firetower_manager_missed_total 0`,
		`firetower_manager_build_info{version="v1.2.3"} 1`,
		`go_goroutines `,
	} {
		if !strings.Contains(body, "\n"+want) {
			t.Errorf("/metrics does not say %s", want)
		}
	}
}

func TestHTTP_PprofOnlyWhenEnabled(t *testing.T) {
	h := startHub(t, func(o *manager.Options) { o.PprofEnabled = true })
	if res, body := h.get("/debug/pprof/goroutine?debug=1"); res.StatusCode != http.StatusOK || !strings.Contains(body, `"role":"link_server"`) {
		t.Fatalf("%s: the profile does not read by role", res.Status)
	}
}

// TestHTTP_Token: what tells of topics or of the process wants the token, health does not.
func TestHTTP_Token(t *testing.T) {
	h := startHub(t, func(o *manager.Options) {
		o.Token = "secret"
		o.PprofEnabled = true
	})
	paths := map[string]bool{
		"/": true, "/topic": true, "/api/overview": true, "/metrics": true, "/assets/dashboard.js": true, "/debug/pprof/cmdline": true,
		"/healthz": false, "/readyz": false,
	}
	for _, path := range slices.Sorted(maps.Keys(paths)) {
		for _, tc := range []struct {
			name   string
			header []string
			ok     bool
		}{
			{"nothing", nil, false},
			{"wrong bearer", []string{"Authorization", "Bearer wrong"}, false},
			{"wrong password", []string{"Authorization", "Basic YWRtaW46d3Jvbmc="}, false},
			{"token as user", []string{"Authorization", "Basic c2VjcmV0Og=="}, false},
			{"bearer", []string{"Authorization", "Bearer secret"}, true},
			{"password", []string{"Authorization", "Basic YWRtaW46c2VjcmV0"}, true},
		} {
			t.Run(path+" with "+tc.name, func(t *testing.T) {
				res, _ := h.get(path, tc.header...)
				want := http.StatusOK
				if paths[path] && !tc.ok {
					want = http.StatusUnauthorized
				}
				if res.StatusCode != want {
					t.Errorf("%s, want %d", res.Status, want)
				}
				if asks := res.Header.Get("WWW-Authenticate") != ""; asks != (want == http.StatusUnauthorized) {
					t.Errorf("WWW-Authenticate = %q", res.Header.Get("WWW-Authenticate"))
				}
			})
		}
	}
}

func TestHTTP_Off(t *testing.T) {
	h := startHub(t, func(o *manager.Options) { o.HTTPAddr = "" })
	if h.Addrs().HTTP != nil {
		t.Fatalf("HTTP at %v, want none", h.Addrs().HTTP)
	}
	joinHub(t, h, "gw", nil)
}
