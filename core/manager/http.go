package manager

import (
	"fmt"
	"log/slog"
	"net/http"
	"net/http/pprof"
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

func (m *Manager) handler() http.Handler {
	private := http.NewServeMux()
	private.Handle("GET /metrics", promhttp.HandlerFor(m.metrics, promhttp.HandlerOpts{Registry: m.metrics}))
	if m.opt.PprofEnabled {
		private.HandleFunc("GET /debug/pprof/", pprof.Index)
		private.HandleFunc("GET /debug/pprof/cmdline", pprof.Cmdline)
		private.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
		private.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
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
	mux.Handle("/", private)
	return mux
}
