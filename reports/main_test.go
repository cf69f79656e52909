package reports_test

import (
	"flag"
	"os"
	"path/filepath"
	"testing"
	"time"

	"go.uber.org/goleak"

	"firetower/reports"
	"firetower/simulator/latency"
)

var update = flag.Bool("update", false, "write the golden files")

func TestMain(m *testing.M) {
	flag.Parse()
	goleak.VerifyTestMain(m)
}

// golden compares with a file, or writes it with -update.
func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, got, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatalf("%v (run with -update to write it)", err)
	}
	if string(got) != string(want) {
		t.Errorf("%s differs from what is rendered now; look at the change and run with -update if it is meant", path)
	}
}

func ptr[T any](v T) *T { return &v }

// sample is a small result with every part filled in, always the same.
func sample(t *testing.T) *reports.Result {
	t.Helper()
	start := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	delivery, actual, completion, lag := latency.NewRecorder(), latency.NewRecorder(), latency.NewRecorder(), latency.NewRecorder()
	for i := range int64(4000) {
		delivery.Record(1_000_000 + i*7_001)
		actual.Record(990_000 + i*7_001)
	}
	for i := range int64(40) {
		completion.Record(20_000_000 + i*300_000)
		lag.Record(10_000 + i*1_000)
	}
	r := &reports.Result{
		Schema: reports.Schema, ID: "20260102T030405Z-sample", Scenario: "sample", Purpose: "What does a report look like", Target: "firetower",
		Started: start, Ended: start.Add(20 * time.Second), Seed: 1, RunID: "00000000000000ff",
		Verdict: reports.Degraded, Reasons: []string{"publish lag p99: 9 ms, limit at most 2 ms"}, ThresholdsOK: false, ExitCode: 99,
		Loop: "open", Subprotocol: "firetower.v1", Connections: 100, Planned: 100, Topics: 1, PayloadSize: 128,
		Ledger: reports.Ledger{Expected: 4001, Received: 4000, Lost: 1}, LostUnexplained: 1, Messages: 41, Incomplete: 1,
		Reach: ptr(4000.0 / 4001), MeasuredSeconds: 8, DeliveriesPerSecond: 500, MessagesPerSecond: 5.125,
		Delivery: reports.Summarise(delivery), DeliveryActual: reports.Summarise(actual), First: reports.Summarise(nil),
		Completion: reports.Summarise(completion), Spread: reports.Summarise(nil), PublishAck: reports.Summarise(nil),
		PublishLag: reports.Summarise(lag), Connect: reports.Summarise(nil),
		CompletionAt: map[string]reports.Distribution{"50": reports.Summarise(completion)}, Fairness: ptr(1.0),
		Server:    reports.Server{CPUMicrosPerDelivery: ptr(4.25), RSSBytesPerConnection: ptr(3000.0), CPUSeconds: 0.017, CPUCores: 0.002, RSSEmpty: 20 << 20, RSSIdle: 21 << 20, RSSPeak: 30 << 20, Drops: map[string]float64{"slow": 1}},
		Generator: reports.Generator{Workers: 1, Engine: "epoll", CPUMicrosPerMessage: ptr(3.5), WorkerCPUSeconds: 0.014},
		Publisher: reports.Publisher{Via: "grpc stream", Planned: 41, Sent: 41},
		Faults:    []reports.Fault{{Kind: "manager-restart", At: 2000, Down: ptr(1000.0), FirstDelivery: ptr(1500.0), Recovered: ptr(1600.0), Window: 5000, Lost: 1, Messages: 1}},
		Checks: []reports.Check{
			{Name: "ledger balances", Status: reports.CheckOK, Value: "4001 = 4000 + 1", Limit: "expected = received + lost", Note: "all"},
			{Name: "publish lag p99", Status: reports.CheckDegraded, Value: "9 ms", Limit: "at most 2 ms", Note: "ours"},
			{Name: "TCP retransmits and drops", Status: reports.CheckNote, Value: "RetransSegs 3", Limit: "noted above 0", Note: "kernel"},
		},
		Thresholds: []reports.Threshold{
			{Text: "lost==0", Metric: "lost", Value: ptr(1.0), Limit: 0},
			{Text: "delivery.p99<250ms", Metric: "delivery.p99", Value: ptr(28.7), Limit: 250, Unit: "ms", OK: true},
			{Text: "completion.p99<1s", Metric: "completion.p99", Limit: 1000, Unit: "ms", Reason: "needs 368 values, has 40"},
		},
		Phases: []reports.Phase{
			{Name: "connect", Start: 0, End: 5000},
			{Name: "warmup", Start: 5000, End: 7000, Ledger: &reports.Ledger{Expected: 10, Received: 10}},
			{Name: "measure", Start: 7000, End: 15000, Ledger: &reports.Ledger{Expected: 4001, Received: 4000, Lost: 1}},
			{Name: "drain", Start: 15000, End: 15500},
		},
		Histograms:  map[string]*latency.Recorder{"delivery": delivery, "delivery_actual": actual, "completion": completion, "publish_lag": lag},
		Environment: reports.Environment{Hostname: "host", OS: "linux", Arch: "amd64", Kernel: "6.1", CPU: "a <CPU>", CPUs: 2, Memory: 8 << 30, Commit: "0123456789abcdef0123", GoVersion: "go1.26", GOMAXPROCS: 2, Sysctl: map[string]string{"net.core.somaxconn": "4096"}},
		Configuration: reports.Configuration{
			Scenario: "version = 1\nname = \"sample\"\nseed = 1\n\n[load]\nrate = \"5/s\"\n", ScenarioHash: "aa", Plan: []byte(`{}`),
			Overrides: []reports.Override{{Key: "load.rate", Value: "5/s", Origin: "--rate"}},
		},
	}
	for i := range 10 {
		r.Seconds.T = append(r.Seconds.T, float64(5+i))
		phase := "measure"
		if i < 2 {
			phase = "warmup"
		}
		r.Seconds.Phase = append(r.Seconds.Phase, phase)
		r.Seconds.Planned = append(r.Seconds.Planned, 5)
		r.Seconds.Sent = append(r.Seconds.Sent, 5)
		r.Seconds.Delivered = append(r.Seconds.Delivered, int64(480+i))
		for _, col := range []*[]*float64{&r.Seconds.P50, &r.Seconds.P90, &r.Seconds.P99, &r.Seconds.Max} {
			*col = append(*col, ptr(float64(10+i)))
		}
	}
	r.Seconds.P99[4] = nil
	for i := range 41 {
		r.Sample.T = append(r.Sample.T, 7+float64(i)/5)
		for _, col := range []*[]*float64{&r.Sample.At50, &r.Sample.At90, &r.Sample.At99, &r.Sample.Last} {
			*col = append(*col, ptr(float64(20+i%7)))
		}
	}
	r.Sample.Last[40] = nil
	for i, role := range []string{"gateway", "manager", "worker", "coordinator"} {
		p := reports.Process{Role: role, Name: role, PID: 100 + i, CPUSeconds: 0.5, RSSPeak: 30 << 20, Exit: "exit status 0"}
		for s := range 16 {
			p.T, p.Cores, p.RSS, p.FDs = append(p.T, float64(s)), append(p.Cores, 0.1*float64(i+1)), append(p.RSS, int64(10+s)<<20), append(p.FDs, 10)
		}
		r.Processes = append(r.Processes, p)
	}
	if err := r.Check(); err != nil {
		t.Fatalf("the sample is not a valid document: %v", err)
	}
	return r
}

func mkdir(t *testing.T, parts ...string) string {
	t.Helper()
	dir := filepath.Join(parts...)
	if err := os.MkdirAll(dir, 0o750); err != nil {
		t.Fatal(err)
	}
	return dir
}
