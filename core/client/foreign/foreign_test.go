//go:build clients

package foreign_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// runTime bounds the run of one foreign client.
const runTime = 4 * time.Minute

// required returns a setting that the Makefile gives.
func required(t *testing.T, key string) string {
	t.Helper()
	value := os.Getenv(key)
	if value == "" {
		t.Fatalf("%s is not set: run `make test-clients`", key)
	}
	return value
}

// service is a `firetower serve` process.
type service struct {
	Listen string `json:"listen"`
	GRPC   string `json:"grpc"`
	HTTP   string `json:"http"`
}

func (s *service) gateway() string { return "ws://" + s.Listen + "/ws" }

// compression lets clients negotiate it, which all of these offer, for all but the shortest messages.
const compression = "\n[compression]\nenabled = true\nthreshold = \"60B\"\n"

// serve starts one whose gateway lets pages of one origin in, with further configuration, and stops it with the test.
func serve(t *testing.T, origin, further string) *service {
	t.Helper()
	config := filepath.Join(t.TempDir(), "fireTower.toml")
	// Short heartbeats, so that checks of them are short.
	text := fmt.Sprintf("heartbeat = \"500ms\"\n\n[gateway]\norigins = [%q]\n", origin) + further
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(required(t, "FIRETOWER_BIN"), "serve", "--announce", "--config", config,
		"--listen", "127.0.0.1:0", "--link", "127.0.0.1:0", "--grpc", "127.0.0.1:0", "--http", "127.0.0.1:0",
		"--log-level", "warn")
	cmd.Stderr = t.Output()
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_, _ = io.Copy(io.Discard, out)
		if err := cmd.Wait(); err != nil {
			t.Errorf("firetower serve: %v", err)
		}
	})
	line, err := bufio.NewReader(out).ReadBytes('\n')
	if err != nil {
		t.Fatalf("firetower serve: %v", err)
	}
	s := &service{}
	if err := json.Unmarshal(line, s); err != nil {
		t.Fatalf("firetower serve announced %q: %v", line, err)
	}
	return s
}

// driver serves the page and the checks to a client, publishes for it, and takes its results.
type driver struct {
	*httptest.Server
	t    *testing.T
	done chan struct{}

	mu sync.Mutex // guards the following
	// service is what publish publishes to; set before a client starts.
	service *service
	results []result
	ended   bool
}

type result struct {
	Name  string `json:"name"`
	Error string `json:"error"`
}

func newDriver(t *testing.T) *driver {
	t.Helper()
	d := &driver{t: t, done: make(chan struct{})}
	mux := http.NewServeMux()
	for _, file := range []string{"page.html", "checks.mjs"} {
		mux.HandleFunc("GET /"+file, func(w http.ResponseWriter, r *http.Request) {
			if strings.HasSuffix(file, ".mjs") {
				w.Header().Set("Content-Type", "text/javascript; charset=utf-8")
			}
			http.ServeFile(w, r, file)
		})
	}
	mux.HandleFunc("POST /publish", d.publish)
	mux.HandleFunc("POST /result", d.result)
	mux.HandleFunc("POST /done", func(http.ResponseWriter, *http.Request) {
		d.mu.Lock()
		defer d.mu.Unlock()
		if !d.ended {
			d.ended = true
			close(d.done)
		}
	})
	d.Server = httptest.NewServer(mux)
	t.Cleanup(d.Close)
	return d
}

// publish publishes the request's body with `firetower publish`.
func (d *driver) publish(w http.ResponseWriter, r *http.Request) {
	d.mu.Lock()
	grpc := d.service.GRPC
	d.mu.Unlock()
	cmd := exec.CommandContext(r.Context(), os.Getenv("FIRETOWER_BIN"), "publish", "--manager-grpc", grpc, r.URL.Query().Get("topic"), "-")
	cmd.Stdin = r.Body
	if out, err := cmd.CombinedOutput(); err != nil {
		http.Error(w, fmt.Sprintf("%v: %s", err, out), http.StatusBadGateway)
	}
}

func (d *driver) result(w http.ResponseWriter, r *http.Request) {
	var res result
	if err := json.NewDecoder(r.Body).Decode(&res); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.results = append(d.results, res)
}

func (d *driver) use(s *service) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.service = s
}

// run runs a client until it says that it is done, and makes a subtest of each of its results.
func (d *driver) run(want int, name string, args ...string) {
	d.t.Helper()
	ctx, cancel := context.WithTimeout(d.t.Context(), runTime)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	// A browser is a group of processes; all of them end with the test.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = 10 * time.Second
	var output bytes.Buffer
	cmd.Stdout, cmd.Stderr = &output, &output
	if err := cmd.Start(); err != nil {
		d.t.Fatal(err)
	}
	exited := make(chan error, 1)
	go func() { exited <- cmd.Wait() }()
	var err error
	select {
	case <-d.done:
		cancel()
		<-exited
	case err = <-exited:
		// Node ends by itself, perhaps a moment before its last request is seen here.
		select {
		case <-d.done:
			err = nil
		default:
			err = fmt.Errorf("ended before it was done: %w", err)
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, r := range d.results {
		d.t.Run(r.Name, func(t *testing.T) {
			if r.Error != "" {
				t.Error(r.Error)
			}
		})
	}
	if err != nil {
		d.t.Errorf("%s: %v\n%s", name, err, output.String())
	}
	// A client that makes no check at all would pass without this.
	if len(d.results) < want {
		d.t.Errorf("%d results, want at least %d\n%s", len(d.results), want, output.String())
	}
}

func TestNodeWS(t *testing.T) {
	d := newDriver(t)
	s := serve(t, d.URL, "")
	d.use(s)
	d.run(33, "node", "node.mjs", d.URL, s.gateway(), d.URL)
}

func TestNodeWSWithCompression(t *testing.T) {
	d := newDriver(t)
	s := serve(t, d.URL, compression)
	d.use(s)
	d.run(33, "node", "node.mjs", d.URL, s.gateway(), d.URL)
	s.compressed(t)
}

func TestChromium(t *testing.T) {
	d := newDriver(t)
	s := serve(t, d.URL, "")
	d.use(s)
	d.browse(t, 25, url.Values{"gateway": {s.gateway()}})
}

func TestChromiumWithCompression(t *testing.T) {
	d := newDriver(t)
	s := serve(t, d.URL, compression)
	d.use(s)
	d.browse(t, 25, url.Values{"gateway": {s.gateway()}})
	s.compressed(t)
}

// compressed fails the test when nothing was: a client that negotiates nothing passes all checks.
func (s *service) compressed(t *testing.T) {
	t.Helper()
	r, err := http.Get("http://" + s.HTTP + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	text, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	for _, metric := range []string{"connections_compressed_total", "compressed_messages_total"} {
		if !regexp.MustCompile(`(?m)^firetower_gateway_` + metric + ` [1-9]`).Match(text) {
			t.Errorf("%s is 0", metric)
		}
	}
}

func TestChromiumOfAnotherOriginIsRefused(t *testing.T) {
	d := newDriver(t)
	s := serve(t, "https://allowed.example", "")
	d.use(s)
	d.browse(t, 1, url.Values{"gateway": {s.gateway()}, "refused": {""}})
}

// browse opens the page in a headless Chromium with a fresh profile that talks to nobody else.
func (d *driver) browse(t *testing.T, want int, query url.Values) {
	t.Helper()
	d.run(want, required(t, "CHROMIUM_BIN"),
		"--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-dev-shm-usage",
		"--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync",
		"--remote-debugging-port=0", "--user-data-dir="+t.TempDir(),
		d.URL+"/page.html?"+query.Encode())
}
