package reference_test

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"firetower/loadtest/reference"
	"firetower/simulator"
)

// BenchmarkFanout measures what a delivery costs the server and what it costs the simulator: 10,000 connections on one
// topic, b.N messages at 10 a second, the server in a process of its own. The figures in the package comment of
// simulator come from it:
//
//	go test -run '^$' -bench Fanout -benchtime 150x ./loadtest/reference
func BenchmarkFanout(b *testing.B) {
	for _, kind := range reference.Kinds() {
		for _, engine := range simulator.Engines() {
			b.Run(fmt.Sprintf("server=%s/engine=%s", kind, engine), func(b *testing.B) {
				config := simulator.DefaultConfig()
				config.Engine = engine
				config.Connections = envInt(b, "FANOUT_CONNS", 10_000)
				config.Shards = envInt(b, "FANOUT_SHARDS", 1)
				config.Batch = envInt(b, "FANOUT_BATCH", config.Batch)
				config.Rest = time.Duration(envInt(b, "FANOUT_REST_US", int(config.Rest/time.Microsecond))) * time.Microsecond
				fanout(b, kind, config, envInt(b, "FANOUT_RATE", 10))
			})
		}
	}
}

func envInt(b *testing.B, name string, def int) int {
	b.Helper()
	text := os.Getenv(name)
	if text == "" {
		return def
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		b.Fatalf("%s: %v", name, err)
	}
	return n
}

func fanout(b *testing.B, kind string, config simulator.Config, rate int) {
	b.Helper()
	pid, addr := spawn(b, kind)
	config.URLs = []string{"ws://" + addr + "/"}
	config.RunID = runID
	config.SourceIPs = []string{"127.0.1.1", "127.0.1.2"}
	fleet := startFleet(b, config)
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	empty := rss(b, pid)
	if err := fleet.Connect(ctx); err != nil {
		b.Fatal(err)
	}
	p := newPublisher(b, addr, config.Topics)
	p.probe(fleet, config.Connections)
	idle := rss(b, pid)

	// A connection's first 16 segments are acknowledged one by one (quick ACKs), which costs a third more.
	warmup := envInt(b, "FANOUT_WARMUP", 20)
	for range warmup {
		p.publish(simulator.PhaseWarmup, 0, 0)
		<-time.After(time.Second / time.Duration(rate))
	}
	waitFor(b, "the warm-up", func() bool {
		return fleet.Counters().Received >= int64(warmup+1)*int64(config.Connections)
	})

	ownBefore, serverBefore, boxBefore := ownCPU(b), processCPU(b, pid), boxCPU(b)
	b.ResetTimer()
	start := time.Now()
	base := p.clock.Now()
	for i := range b.N {
		at := time.Duration(i) * time.Second / time.Duration(rate)
		<-time.After(time.Until(start.Add(at)))
		p.publish(simulator.PhaseMeasure, 0, base+int64(at))
	}
	want := int64(b.N) * int64(config.Connections)
	last, since := int64(-1), time.Now()
	waitFor(b, "the drain", func() bool { // until nothing has come for a while
		if received := fleet.Counters().Received; received != last {
			last, since = received, time.Now()
		}
		return time.Since(since) > 100*time.Millisecond
	})
	b.StopTimer()
	own, server, box := ownCPU(b)-ownBefore, processCPU(b, pid)-serverBefore, boxCPU(b)-boxBefore

	report, err := fleet.Finish(ctx, p.told())
	if err != nil {
		b.Fatal(err)
	}
	for _, phase := range report.Phases {
		if phase.Phase != simulator.PhaseMeasure {
			continue
		}
		if phase.Lost != 0 || phase.Duplicated != 0 || phase.Reordered != 0 {
			b.Errorf("lost %d, duplicated %d, reordered %d of %d", phase.Lost, phase.Duplicated, phase.Reordered, want)
		}
		b.ReportMetric(float64(phase.Intended.Percentile(50))/1e6, "p50-ms")
		b.ReportMetric(float64(phase.Intended.Percentile(99))/1e6, "p99-ms")
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(own.Seconds()*1e6/float64(want), "client-us/delivery")
	b.ReportMetric(server.Seconds()*1e6/float64(want), "server-us/delivery")
	b.ReportMetric(max(0, (box-own-server).Seconds()/time.Since(start).Seconds()), "cores-of-others")
	b.ReportMetric(float64(idle-empty)/float64(config.Connections), "server-B/conn")
	b.Logf("%s: batches %d, full %d, rests %d, reads %d for %d messages", config.Engine, report.Load.Batches,
		report.Load.FullBatches, report.Load.Rests, report.Load.Reads, want)
}

// spawn starts this test binary as a reference server.
func spawn(b *testing.B, kind string) (pid int, addr string) {
	b.Helper()
	self, err := os.Executable()
	if err != nil {
		b.Fatal(err)
	}
	command := exec.Command(self)
	command.Env = append(os.Environ(), serveEnv+"="+kind)
	command.Stderr = os.Stderr
	command.SysProcAttr = dieWithParent()
	out, err := command.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := command.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		_ = command.Process.Signal(syscall.SIGTERM)
		_ = command.Wait()
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		b.Fatalf("%s did not say its address: %v", kind, err)
	}
	return command.Process.Pid, strings.TrimSpace(line)
}

func ownCPU(b *testing.B) time.Duration {
	b.Helper()
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		b.Fatal(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

// processCPU sums up what the threads of a process have run, in nanoseconds (proc(5), schedstat).
func processCPU(b *testing.B, pid int) time.Duration {
	b.Helper()
	files, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", pid))
	if err != nil || len(files) == 0 {
		b.Skip("no /proc/PID/schedstat")
	}
	var total time.Duration
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			continue // a thread that has just ended
		}
		var ran int64
		if _, err := fmt.Sscan(string(text), &ran); err != nil {
			b.Fatalf("%s: %v", file, err)
		}
		total += time.Duration(ran)
	}
	return total
}

// boxCPU is the time that all processors of the machine were not idle (proc(5), stat; in ticks of 10 ms).
func boxCPU(b *testing.B) time.Duration {
	b.Helper()
	text, err := os.ReadFile("/proc/stat")
	if err != nil {
		b.Skip("no /proc/stat")
	}
	var user, nice, system, idle, wait, irq, softirq, steal int64
	if _, err := fmt.Sscanf(string(text), "cpu %d %d %d %d %d %d %d %d",
		&user, &nice, &system, &idle, &wait, &irq, &softirq, &steal); err != nil {
		b.Fatalf("/proc/stat: %v", err)
	}
	return time.Duration(user+nice+system+irq+softirq+steal) * 10 * time.Millisecond
}

func rss(b *testing.B, pid int) int64 {
	b.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
	if err != nil {
		b.Skip("no /proc/PID/statm")
	}
	var size, resident int64
	if _, err := fmt.Sscan(string(text), &size, &resident); err != nil {
		b.Fatal(err)
	}
	return resident * int64(os.Getpagesize())
}
