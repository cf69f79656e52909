package reports_test

import (
	"io/fs"
	"math"
	"math/rand/v2"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"firetower/reports"
	"firetower/simulator/latency"
)

// rich is a made-up run of n measured seconds that has everything that a run can have:
// a killed gateway, clients that reconnect and churn, slow ones, a search for the
// capacity, calibration, budget, heat map and the servers' own figures.
func rich(t *testing.T, n int) *reports.Result {
	t.Helper()
	r := sample(t)
	rng := rand.New(rand.NewPCG(1, 2))
	const begin = 12 // the measured phase, after connect and warm-up
	killed := begin + n/3
	r.ID, r.Scenario, r.Purpose = "20261122T120000Z-rich", "rich", "everything at once, for the eyes"
	r.Tags = map[string]string{"branch": "main", "host": "ci-3"}
	r.Connections, r.Planned, r.Topics, r.PayloadSize = 10_000, 10_000, 100, 128
	r.Phases = []reports.Phase{
		{Name: "connect", Start: 0, End: 5000},
		{Name: "idle", Start: 5000, End: 7000},
		{Name: "warmup", Start: 7000, End: begin * 1000, Ledger: &reports.Ledger{}},
		{Name: "measure", Start: begin * 1000, End: float64(begin+n) * 1000, Ledger: &reports.Ledger{}},
		{Name: "drain", Start: float64(begin+n) * 1000, End: float64(begin+n+2) * 1000},
		{Name: "leave", Start: float64(begin+n+2) * 1000, End: float64(begin+n+8) * 1000},
	}
	r.Ended = r.Started.Add(time.Duration(begin+n+8) * time.Second)

	recorders := map[string]*latency.Recorder{}
	for _, name := range []string{"delivery", "delivery_actual", "first", "completion", "spread", "publish_ack", "publish_lag", "connect", "subscribe", "reconnect", "join"} {
		recorders[name] = latency.NewRecorder()
	}
	record := func(name string, ms float64) { recorders[name].Record(int64(ms * 1e6)) }
	r.Seconds, r.Sample = reports.Seconds{}, reports.Sample{}
	heat := &reports.Heatmap{Step: 1}
	for e := 0.1; e < 5000; e *= math.Pow(10, 1.0/8) {
		heat.Edges = append(heat.Edges, e)
	}
	for s := range n + 5 {
		at := float64(7 + s)
		phase, scale := "warmup", 18.0
		switch {
		case at >= float64(killed) && at < float64(killed+3):
			phase, scale = "hold", 90
		case at >= float64(killed+3) && at < float64(killed+8):
			phase, scale = "recover", 40
		case at >= begin:
			phase = "measure"
		}
		scale *= 1 + 0.2*math.Sin(at/7)
		second := latency.NewRecorder()
		row := make([]int64, len(heat.Edges))
		for range 500 {
			v := scale * (0.3 + rng.ExpFloat64())
			if rng.IntN(3) == 0 {
				v = 2 + rng.ExpFloat64()
			}
			second.Record(int64(v * 1e6))
			record("delivery", v)
			record("delivery_actual", v*0.97)
			for i, e := range heat.Edges {
				if v <= e {
					row[i] += 20
					break
				}
			}
		}
		heat.T, heat.Phase, heat.Counts = append(heat.T, at), append(heat.Phase, phase), append(heat.Counts, row)
		d := reports.Summarise(second)
		r.Seconds.T, r.Seconds.Phase = append(r.Seconds.T, at), append(r.Seconds.Phase, phase)
		r.Seconds.Planned = append(r.Seconds.Planned, 100)
		r.Seconds.Sent = append(r.Seconds.Sent, 100)
		delivered := int64(9_900 + rng.IntN(200))
		if phase == "hold" {
			delivered = 5_200
		}
		r.Seconds.Delivered = append(r.Seconds.Delivered, delivered)
		r.Seconds.P50, r.Seconds.P90 = append(r.Seconds.P50, d.P50), append(r.Seconds.P90, d.P90)
		r.Seconds.P99, r.Seconds.Max = append(r.Seconds.P99, d.P99), append(r.Seconds.Max, d.Max)
		if s == 9 {
			r.Seconds.P99[9] = nil
		}
	}
	messages := min(n*100, reports.MaxSample)
	for i := range messages {
		last := 40 + 30*rng.ExpFloat64()
		r.Sample.T = append(r.Sample.T, begin+float64(i*n)/float64(messages))
		for _, c := range []struct {
			col   *[]*float64
			share float64
		}{{&r.Sample.At50, 0.4}, {&r.Sample.At90, 0.75}, {&r.Sample.At99, 0.9}, {&r.Sample.Last, 1}} {
			*c.col = append(*c.col, ptr(math.Round(last*c.share*1000)/1000))
		}
	}
	r.Sample.Last[messages/3] = nil
	for range n * 100 {
		record("completion", 40+30*rng.ExpFloat64())
		record("first", 1+rng.ExpFloat64())
		record("spread", 38+30*rng.ExpFloat64())
		record("publish_ack", 0.4+rng.ExpFloat64())
		record("publish_lag", 0.05+0.05*rng.ExpFloat64())
	}
	for range 10_000 {
		record("connect", 2+3*rng.ExpFloat64())
		record("subscribe", 1+rng.ExpFloat64())
	}
	for range 3_000 {
		record("reconnect", 300+400*rng.ExpFloat64())
		record("join", 1+2*rng.ExpFloat64())
	}
	r.Histograms = recorders
	for name, d := range map[string]*reports.Distribution{
		"delivery": &r.Delivery, "delivery_actual": &r.DeliveryActual, "first": &r.First, "completion": &r.Completion,
		"spread": &r.Spread, "publish_ack": &r.PublishAck, "publish_lag": &r.PublishLag, "connect": &r.Connect,
		"subscribe": &r.Subscribe, "reconnect": &r.Reconnect, "join": &r.Join,
	} {
		*d = reports.Summarise(recorders[name])
	}
	r.CompletionAt = map[string]reports.Distribution{"50": r.Spread, "90": r.Spread, "99": r.Completion}
	received := r.Delivery.Count
	r.Ledger = reports.Ledger{Expected: received + 4_812, Received: received, Lost: 4_812, Duplicated: 31}
	r.LostUnexplained, r.Messages, r.Incomplete = 0, int64(n*100)+49, 49
	r.Reach = ptr(float64(received) / float64(received+4_812))
	r.MeasuredSeconds, r.MessagesPerSecond, r.DeliveriesPerSecond = float64(n), 100, 9_950
	r.Publisher = reports.Publisher{Via: "grpc stream", Planned: r.Messages + 7, Sent: r.Messages, Refused: 7, Missed: 12}
	r.ConnectSeconds, r.ConnectionsPerSecond, r.Reconnects, r.Disconnected = 4.8, 2083, 3000, 3000
	r.SkewP99 = ptr(1.34)
	r.Slow = &reports.Slow{Connections: 100, Disconnected: 98, Closed: map[string]int64{"4008": 90, "reset": 8}, Received: 1234}
	r.Churn = &reports.Churn{Topics: 1000, Changes: 6000, Refused: 3, Due: 50_000, Received: 49_990, Lost: 10, Duplicated: 1, Extra: 321, Grace: 500}
	r.Capacity = &reports.Capacity{MessagesPerSecond: 140, DeliveriesPerSecond: 1.4e6, Failed: ptr(150.0), P99Limit: 250, Trials: []reports.CapacityTrial{
		{Rate: 50, Achieved: 50, P50: ptr(18.0), P99: ptr(60.0), LagP99: ptr(0.2), Sustained: true},
		{Rate: 100, Achieved: 100, P50: ptr(22.0), P99: ptr(88.0), LagP99: ptr(0.2), Sustained: true},
		{Rate: 200, Achieved: 163, P50: ptr(900.0), P99: ptr(3100.0), Lost: 12, LagP99: ptr(4.5), Reason: "p99 3.1 s is above 250 ms"},
		{Rate: 150, Achieved: 149, P50: ptr(60.0), P99: ptr(410.0), LagP99: ptr(0.3), Reason: "p99 410 ms is above 250 ms"},
		{Rate: 140, Achieved: 140, P50: ptr(41.0), P99: ptr(210.0), LagP99: ptr(0.2), Sustained: true},
	}}
	r.Calibration = &reports.Calibration{Seconds: 5, DeliveriesPerSecond: 412_345, CPUMicrosPerMessage: 3.41, P50: ptr(4.1), P99: ptr(9.2), Share: ptr(0.243)}
	r.Leave = &reports.Leave{Seconds: 4.2, Descriptors: [3]int{24, 10_031, 24}, Goroutines: [3]int{31, 64, 33}, RSS: [3]int64{20 << 20, 66 << 20, 60 << 20}, LeakedGoroutines: 2}
	r.Budget = []reports.Stage{
		{Name: "publish lag", Note: "the publisher sent later than it meant to", Source: "harness", Count: int64(n * 100), Mean: 0.1, P50: ptr(0.09), P99: ptr(0.3)},
		{Name: "manager", Note: "from the arrival of a publish to the last link's queue", Source: "servers", Count: int64(n * 100), Mean: 0.8, P50: ptr(0.6), P99: ptr(2.0)},
		{Name: "link", Note: "from the manager's queue to the gateway", Source: "servers", Count: int64(n * 100), Mean: 0.4, P50: ptr(0.3), P99: ptr(1.1)},
		{Name: "central wait", Note: "in the gateway's central channel", Source: "servers", Count: int64(n * 100), Mean: 1.2, P50: ptr(0.5), P99: ptr(6.0)},
		{Name: "bucket wait", Note: "in a bucket's channel", Source: "servers", Count: int64(n * 100), Mean: 6.4, P50: ptr(5.0), P99: ptr(22.0)},
		{Name: "fan-out", Note: "from taking a message to the write of its last subscriber", Source: "servers", Count: received, Mean: 8.0, P50: ptr(7.0), P99: ptr(31.0)},
		{Name: "network and reader", Note: "what is left: the kernel's queues and the load generator's reading", Source: "rest", Mean: 4.6},
	}
	r.Heatmap = heat
	r.Series = &reports.Series{Values: map[string][]*float64{}}
	r.Processes = nil
	for i, p := range []struct{ role, name string }{{"manager", "manager"}, {"gateway", "gateway-0"}, {"gateway", "gateway-1"}, {"worker", "worker-0"}, {"coordinator", "coordinator"}} {
		proc := reports.Process{Role: p.role, Name: p.name, PID: 100 + i, CPUSeconds: 0.2 * float64((i+1)*n), WaitSeconds: 0.5, RSSPeak: 60 << 20, Exit: "exit status 0"}
		if i == 1 {
			proc.Exit = "signal: killed"
		}
		for s := range begin + n + 8 {
			if i == 1 && s > killed && s < killed+2 {
				continue
			}
			proc.T = append(proc.T, float64(s))
			proc.Cores = append(proc.Cores, math.Round(1000*(0.05+0.08*float64(i)*(1+rng.Float64()/3)))/1000)
			proc.RSS, proc.FDs = append(proc.RSS, int64(10+i*9+min(s, 20))<<20), append(proc.FDs, 5020)
		}
		r.Processes = append(r.Processes, proc)
	}
	for s := range begin + n + 8 {
		r.Series.T = append(r.Series.T, float64(s))
		for _, v := range []struct {
			name string
			at   float64
		}{{"gateway-0 goroutines", 40}, {"gateway-1 goroutines", 42}, {"manager goroutines", 21}, {"gateway-0 bucket queue", 300 * rng.Float64()}, {"gateway-1 bucket queue", 250 * rng.Float64()}, {"gateway-0 heap bytes", float64((20 + s%9) << 20)}} {
			value := ptr(math.Round(v.at))
			if strings.HasPrefix(v.name, "gateway-0") && s > killed && s < killed+2 {
				value = nil
			}
			r.Series.Values[v.name] = append(r.Series.Values[v.name], value)
		}
	}
	before, during, innocent := r.Delivery, r.Completion, r.First
	r.Faults = []reports.Fault{{
		Kind: "gateway-kill", Victim: "gateway-0", At: float64(killed-begin) * 1000, Down: ptr(1204.0), Detected: ptr(3.2), Republished: ptr(4.1),
		FirstDelivery: ptr(4.6), Recovered: ptr(2310.0), Reconnected: ptr(2204.0), Before: &before, During: &during, Innocent: &innocent,
		Duplicated: 31, Window: 8000, Lost: 4_812, Messages: 49, Refused: 7,
	}}
	r.Thresholds = []reports.Threshold{
		{Text: "lost_unexplained==0", Metric: "lost_unexplained", Value: ptr(0.0), OK: true},
		{Text: "delivery.p99<250ms", Metric: "delivery.p99", Value: r.Delivery.P99, Limit: 250, Unit: "ms", OK: true},
		{Text: "fault.recovery<2s", Metric: "fault.recovery", Value: ptr(2310.0), Limit: 2000, Unit: "ms"},
	}
	r.Configuration.Gateway = "[bucket]\nnum = 32\nbuff_chan_count = 1024\nconsumer_num = 1\n"
	if err := r.Check(); err != nil {
		t.Fatalf("the rich sample is not a valid document: %v", err)
	}
	return r
}

// A ten-minute run with all there is stays below a megabyte.
func TestPageOfALongRunIsSmall(t *testing.T) {
	t.Parallel()
	page, err := rich(t, 600).HTML()
	if err != nil {
		t.Fatal(err)
	}
	if len(page) >= 1_000_000 {
		t.Errorf("the page has %d bytes, want less than 1 MB", len(page))
	}
	t.Logf("%d bytes", len(page))
}

// The page has a chapter for everything that a run can have, and what each must say.
func TestPageTellsEverything(t *testing.T) {
	t.Parallel()
	page, err := rich(t, 40).HTML()
	if err != nil {
		t.Fatal(err)
	}
	text := string(page)
	for _, want := range []string{
		"<h2>Capacity</h2>", "140 messages/s held", "p99 410 ms is above 250 ms",
		"<h2>Latency</h2>", "completion, of all messages", "49 of 4,049 messages did not reach all subscribers",
		"Latency heat map", "Percentiles over time", "Throughput", "Completion fan",
		"<h2>Faults</h2>", "gateway-kill of gateway-0, 13.0 s into the measured phase", "of these, at clients of other gateways", "not seen",
		"<h2>Where the time goes</h2>", "network and reader", "Connecting by percentile", "join of a topic",
		"Clients that misbehave by plan", "Topics that clients come to and leave", "skew: p99 of connections over their median",
		"Goroutines", "Queue depths and backlogs", "When all have left", "did not come back",
		"Calibration against a server that only writes", "24.3 %", "not sustained", "delivery.p99&lt;250ms",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("the page does not say %q", want)
		}
	}
}

// A plain run fits a terminal of 25 lines, and one with everything is cut to it.
func TestSummaryOfEverything(t *testing.T) {
	t.Parallel()
	r := rich(t, 40)
	text := r.Summary("reports/runs/x")
	lines := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
	if len(lines) > 25 {
		t.Errorf("%d lines:\n%s", len(lines), text)
	}
	for _, line := range lines {
		if n := len([]rune(line)); n > 118 {
			t.Errorf("a line of %d characters: %s", n, line)
		}
	}
	for _, want := range []string{
		"DEGRADED: rich on firetower, 1 of 3 thresholds failed", "of 4,049 messages, 49 never reached all subscribers and are not in the completion",
		"  capacity   140 messages/s (1.4M deliveries/s) with a p99 of at most 250 ms; 150 did not hold",
		"  fault      gateway-kill of gateway-0 at 13.0 s: detected 3.20 ms, down 1.20 s, all deliver 2.31 s, all back 2.20 s",
		"             first delivery 4.60 ms; 4,812 deliveries lost, 7 messages refused; clients elsewhere: p99 5.66 ms, 0 lost", "  checks     1 ok", "fan-out 8.00, rest 4.60\n", "  reconnect             3,000",
		"24 % of what the workers can take", "  budget     mean ms: manager 0.800, link 0.400,", "  report     reports/runs/x/report.html",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("lacks %q:\n%s", want, text)
		}
	}
	if strings.Contains(text, "publish lag 0.1") {
		t.Errorf("a stage of no weight is in the budget:\n%s", text)
	}
	r.Capacity.MessagesPerSecond = 0
	if want := "none of 5 rates held a p99 of 250 ms"; !strings.Contains(r.Summary(""), want) {
		t.Errorf("lacks %q", want)
	}
	r.Capacity.MessagesPerSecond, r.Capacity.Failed = 200, nil
	if want := "capacity   at least 200 messages/s (1.4M deliveries/s) with a p99 of at most 250 ms; capacity.to ends the search there"; !strings.Contains(r.Summary(""), want) {
		t.Errorf("lacks %q", want)
	}
}

// The committed results of older builds have a page and a summary like any other.
func TestBaselinesRender(t *testing.T) {
	t.Parallel()
	n := 0
	err := filepath.WalkDir("baselines", func(path string, _ fs.DirEntry, err error) error {
		if err != nil || filepath.Base(path) != reports.ResultFile {
			return err
		}
		n++
		r, err := reports.Read(path)
		if err != nil {
			return err
		}
		page, err := r.HTML()
		if err != nil || len(page) >= 1_000_000 || !strings.Contains(string(page), "<h2>Resources</h2>") {
			t.Errorf("%s: a page of %d bytes (%v)", path, len(page), err)
		}
		if bad := regexp.MustCompile(`NaN|Inf|%!`).Find(page[:strings.Index(string(page), `id="document"`)]); bad != nil {
			t.Errorf("%s: the page has %q in it", path, bad)
		}
		if lines := strings.Count(r.Summary("x"), "\n"); lines > 25 {
			t.Errorf("%s: a summary of %d lines", path, lines)
		}
		return nil
	})
	if err != nil || n < 10 {
		t.Errorf("looked at %d results: %v", n, err)
	}
}

// twice is the rich sample with a fault of all gateways before the one of gateway-0.
func twice(t *testing.T) *reports.Result {
	t.Helper()
	r := rich(t, 40)
	first := reports.Fault{
		Kind: "manager-restart", Victim: "manager-0", At: 4000, Down: ptr(1010.0), Detected: ptr(2.5), FirstDelivery: ptr(1100.0), Recovered: ptr(1110.0),
		Window: 5000, Lost: 12, Messages: 1, Refused: 22,
	}
	r.Faults = append([]reports.Fault{first}, r.Faults...)
	r.Faults[1].InnocentClients, r.Faults[1].InnocentBefore = 5000, r.Faults[1].Before
	if err := r.Check(); err != nil {
		t.Fatal(err)
	}
	return r
}

// Each of several faults has figures of its own in the summary and on the page, where they
// stand side by side as well.
func TestEachFaultHasItsFigures(t *testing.T) {
	t.Parallel()
	r := twice(t)
	text := r.Summary("")
	for _, want := range []string{
		"  fault      manager-restart of manager-0 at 4.00 s: detected 2.50 ms, down 1.01 s, all deliver 1.11 s\n",
		"             first delivery 1.10 s; 12 deliveries lost, 22 messages refused\n",
		"  fault      gateway-kill of gateway-0 at 13.0 s: detected 3.20 ms, down 1.20 s, all deliver 2.31 s, all back 2.20 s\n",
		"             first delivery 4.60 ms; 4,812 deliveries lost, 7 messages refused; clients elsewhere: p99 5.66 ms, 0 lost\n",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("the summary lacks %q:\n%s", want, text)
		}
	}
	page, err := r.HTML()
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"All faults", "others p99, ms", "up to its moment, at clients of other gateways", "manager-restart of manager-0, 4.00 s into", "gateway-kill of gateway-0, 13.0 s into"} {
		if !strings.Contains(string(page), want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	if page, err = rich(t, 40).HTML(); err != nil || strings.Contains(string(page), "All faults") {
		t.Errorf("one fault stands beside itself: %v", err)
	}
}

// The figures of those whom a fault did not happen to are of the faults that have such,
// and are unknown, not none, where they cannot be told.
func TestFiguresOfTheInnocent(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name    string
		change  func(r *reports.Result)
		p99     float64
		lost    float64
		problem string
	}{
		{"one of two faults has innocents", func(r *reports.Result) { r.Faults[1].LostInnocent = 3 }, 5.66, 3, ""},
		{"no fault has", func(r *reports.Result) { r.Faults = r.Faults[:1] }, 0, 0, "no client was innocent of the fault"},
		{"they cannot be told apart", func(r *reports.Result) {
			r.Faults[1].Innocent, r.Faults[1].InnocentNote = nil, "because"
		}, 0, 0, "nothing is told: because"},
		{"there was no fault", func(r *reports.Result) { r.Faults = nil }, 0, 0, "the run had no fault"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			r := twice(t)
			tt.change(r)
			for metric, want := range map[string]float64{"fault.innocent.p99": tt.p99, "fault.lost_innocent": tt.lost} {
				got, reason := r.Metric(metric)
				if got = math.Round(got*100) / 100; got != want || !strings.Contains(reason, tt.problem) || (reason == "") != (tt.problem == "") {
					t.Errorf("%s is %v, %q, want %v, %q", metric, got, reason, want, tt.problem)
				}
			}
			if text := r.Summary(""); strings.Contains(tt.problem, "because") && !strings.Contains(text, "; clients elsewhere: not told\n") {
				t.Errorf("the summary does not say so:\n%s", text)
			}
		})
	}
}

// What is in no stage of the budget is told, with whose it is and for how long.
func TestGapsOfTheBudgetAreTold(t *testing.T) {
	t.Parallel()
	r := rich(t, 40)
	if text := r.Summary(""); strings.Contains(text, "without") {
		t.Errorf("a gap out of nothing:\n%s", text)
	}
	r.BudgetGaps = []reports.BudgetGap{
		{Server: "gateway-0", From: 13_000, To: 13_004, Reason: "from its last answer until it was killed"},
		{Server: "gateway-0.2", From: 13_004, To: 15_504, Reason: "it did not answer before it was killed"},
	}
	if text := r.Summary(""); !strings.Contains(text, "\n             without 2.50 s of gateway-0.2: it did not answer before it was killed\n") || strings.Contains(text, "of gateway-0:") {
		t.Errorf("the summary tells no gap, or one of 4 ms:\n%s", text)
	}
	page, err := r.HTML()
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"In no stage: gateway-0 for 4.00 ms, 13.0 s to 13.0 s into the measured phase: from its last answer until it was killed.",
		"In no stage: gateway-0.2 for 2.50 s, 13.0 s to 15.5 s into the measured phase: it did not answer before it was killed.",
	} {
		if !strings.Contains(string(page), want) {
			t.Errorf("the page lacks %q", want)
		}
	}
}
