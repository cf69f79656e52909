package manager

import (
	"embed"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/pprof"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Timeouts of the HTTP side, so that a caller that does nothing holds nothing. A
// CPU profile or trace takes as long as it was asked to.
const (
	httpHeaderTimeout = 5 * time.Second
	httpReadTimeout   = 10 * time.Second
	httpWriteTimeout  = 2 * time.Minute
	httpIdleTimeout   = 60 * time.Second
	httpMaxHeader     = 32 << 10
)

// The page is plain files without anything from elsewhere.
//
//go:embed dashboard
var dashboardFiles embed.FS

// contentSecurityPolicy lets the page load its own files and ask its own server,
// and nothing else (W3C Content Security Policy Level 3).
const contentSecurityPolicy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// httpServer serves the dashboard, health and metrics.
func (m *Manager) httpServer() *http.Server {
	return &http.Server{
		Handler:           m.handler(),
		ReadHeaderTimeout: httpHeaderTimeout,
		ReadTimeout:       httpReadTimeout,
		WriteTimeout:      httpWriteTimeout,
		IdleTimeout:       httpIdleTimeout,
		MaxHeaderBytes:    httpMaxHeader,
		ErrorLog:          slog.NewLogLogger(m.log.Handler(), slog.LevelWarn),
	}
}

// handler routes. What shows names of topics and gateways, or the process's
// inside, is behind the token where there is one; health is for anybody.
func (m *Manager) handler() http.Handler {
	private := http.NewServeMux()
	for path, file := range map[string]string{
		"/{$}":                  "index.html",
		"/assets/dashboard.css": "dashboard.css",
		"/assets/dashboard.js":  "dashboard.js",
		"/assets/icon.svg":      "icon.svg",
	} {
		private.HandleFunc("GET "+path, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Cache-Control", "no-cache")
			http.ServeFileFS(w, r, dashboardFiles, "dashboard/"+file)
		})
	}
	private.HandleFunc("GET /topic", m.serveTopics)
	private.HandleFunc("GET /api/overview", m.serveOverview)
	private.Handle("GET /metrics", promhttp.HandlerFor(m.metrics, promhttp.HandlerOpts{}))
	if m.opt.PprofEnabled {
		private.HandleFunc("GET /debug/pprof/", pprof.Index)
		private.HandleFunc("GET /debug/pprof/cmdline", pprof.Cmdline)
		private.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
		private.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
		private.HandleFunc("POST /debug/pprof/symbol", pprof.Symbol)
		private.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	}

	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintln(w, "ok")
	})
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		if m.draining.Load() {
			http.Error(w, "draining", http.StatusServiceUnavailable)
			return
		}
		fmt.Fprintln(w, "ready")
	})
	mux.Handle("/", m.guard(private))
	return secured(mux)
}

// secured puts the headers that keep a browser from doing more with a response
// than it is for.
func secured(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", contentSecurityPolicy)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("X-Frame-Options", "DENY")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Cache-Control", "no-store")
		next.ServeHTTP(w, r)
	})
}

// guard asks for the token where there is one: as a bearer token, or as the
// password of any user, which is what a browser can ask a person for (RFC 7617).
func (m *Manager) guard(next http.Handler) http.Handler {
	if m.opt.Token == "" {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		token, ok := bearer(r.Header.Get("Authorization"))
		if !ok {
			_, token, ok = r.BasicAuth()
		}
		if !ok || !tokenOK(m.bucket.tokenHash, token) {
			w.Header().Set("WWW-Authenticate", `Basic realm="firetower manager: the token is the password", charset="UTF-8"`)
			http.Error(w, "the manager's token is asked for", http.StatusUnauthorized)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// serveTopics lists topics by subscribers: ?limit=100&prefix=room/.
func (m *Manager) serveTopics(w http.ResponseWriter, r *http.Request) {
	limit, err := limitOf(r, defaultListLimit, maxListLimit)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	prefix := r.URL.Query().Get("prefix")
	rows, total := m.overview.topics(limit, topicFilter{prefix: prefix})
	writeJSON(w, struct {
		Topics []topicJSON `json:"topics"`
		Total  int64       `json:"total"`
	}{topicsJSON(rows), total})
}

// limitOf reads ?limit=.
func limitOf(r *http.Request, byDefault, most int) (int, error) {
	s := r.URL.Query().Get("limit")
	if s == "" {
		return byDefault, nil
	}
	n, err := strconv.Atoi(s)
	if err != nil || n < 1 || n > most {
		return 0, fmt.Errorf("limit: must be 1 to %d, got %q", most, strings.ToValidUTF8(s, "?"))
	}
	return n, nil
}

func writeJSON(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	// What fails here is the connection, and then nobody is left to tell.
	_ = json.NewEncoder(w).Encode(v)
}
