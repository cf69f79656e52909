package simulator_test

import (
	"fmt"
	"strings"
	"testing"

	"firetower/simulator"
	"firetower/simulator/stamp"
)

// natsLine is a message as NATS sends it.
func natsLine(subject string, data []byte) []byte {
	return fmt.Appendf(nil, "MSG %s 1 %d\r\n%s\r\n", subject, len(data), data)
}

// centrifugoLine is a message as Centrifugo sends it.
func centrifugoLine(channel string, data []byte) []byte {
	return fmt.Appendf(nil, `{"push":{"channel":%q,"pub":{"data":%s}}}`, channel, data)
}

// stamped is the n-th message of the first topic.
func stamped(n int) []byte {
	return stamp.Append(nil, stamp.Stamp{
		Run: runID, Phase: uint8(simulator.PhaseMeasure), Sequence: uint64(n), Intended: 1e9, Actual: 1e9,
	}, 128)
}

func dialectConfig(d simulator.Dialect) *simulator.Config {
	config := accountConfig(1)
	config.Dialect = d
	config.Topics = simulator.TopicPlan{Count: 2, PerConn: 2, Prefix: "loadtest-"}
	return config
}

// tally is what an account has made of some frames.
type tally struct {
	Received, Duplicated, Reordered, Corrupt, Foreign, Bytes int64
	Heartbeats, Replies, Errors                              int64
	Pings                                                    int
	Verdicts                                                 string
}

// deliver hands frames to a fresh account.
func deliver(t *testing.T, d simulator.Dialect, frames ...string) tally {
	t.Helper()
	a := simulator.NewAccount(dialectConfig(d))
	a.Opening(0)
	var sum tally
	for _, frame := range frames {
		verdict, pings := a.Deliver(0, []byte(frame), 2e9)
		sum.Pings += pings
		if verdict != "" {
			sum.Verdicts += verdict + ";"
		}
	}
	r, err := a.Report(nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range r.Phases {
		sum.Received += p.Received
		sum.Duplicated += p.Duplicated
		sum.Reordered += p.Reordered
		sum.Corrupt += p.Corrupt
		sum.Foreign += p.Foreign
		sum.Bytes += p.Bytes
	}
	sum.Heartbeats, sum.Replies, sum.Errors = r.Unattributed.Heartbeats, r.Unattributed.Replies, r.Unattributed.Errors
	return sum
}

func TestOpenings(t *testing.T) {
	tests := map[string]struct {
		dialect simulator.Dialect
		want    string
	}{
		"firetower without a subprotocol": {simulator.DialectFiretower, `{"type":"subscribe","topic":"loadtest-0,loadtest-1"}`},
		"broadcast":                       {simulator.DialectBroadcast, `{"type":"subscribe","topic":"loadtest-0,loadtest-1"}`},
		"centrifugo": {simulator.DialectCentrifugo, `{"id":1,"connect":{"name":"firetower-simulator"}}
{"id":2,"subscribe":{"channel":"loadtest-0"}}
{"id":3,"subscribe":{"channel":"loadtest-1"}}`},
		"nats": {simulator.DialectNATS, "CONNECT {\"verbose\":false,\"pedantic\":false,\"echo\":false,\"lang\":\"go\",\"version\":\"1\"," +
			"\"protocol\":1,\"name\":\"firetower-simulator\"}\r\nSUB loadtest-0 1\r\nSUB loadtest-1 2\r\nPING\r\n"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if got := string(simulator.NewAccount(dialectConfig(tt.dialect)).Opening(0)); got != tt.want {
				t.Errorf("the first message is\n%s, want\n%s", got, tt.want)
			}
		})
	}
}

func TestCentrifugoFrames(t *testing.T) {
	push := func(n int) string { return string(centrifugoLine("loadtest-0", stamped(n))) }
	const connected = `{"id":1,"connect":{"client":"c","version":"0","ping":25,"pong":true}}`
	size := int64(len(push(1)))
	tests := map[string]struct {
		frames []string
		want   tally
	}{
		"one message":            {[]string{push(1)}, tally{Received: 1, Bytes: size + 4}},
		"joined messages":        {[]string{push(1) + "\n" + push(2) + "\n" + push(3)}, tally{Received: 3, Bytes: 3*size + 2 + 4}},
		"a newline at the end":   {[]string{push(1) + "\n"}, tally{Received: 1, Bytes: size + 1 + 4}},
		"offset behind the data": {[]string{strings.Replace(push(1), `"}}}`, `","offset":1}}}`, 1)}, tally{Received: 1, Bytes: size + 11 + 4}},
		"twice and out of order": {[]string{push(2) + "\n" + push(1) + "\n" + push(2)}, tally{Received: 2, Duplicated: 1, Reordered: 1, Bytes: 2*size + 2 + 4}},
		"the wrong channel":      {[]string{strings.Replace(push(1), "loadtest-0", "loadtest-1", 1)}, tally{Foreign: 1}},
		"a longer channel":       {[]string{strings.Replace(push(1), "loadtest-0", "loadtest-00", 1)}, tally{Foreign: 1}},
		"the wrong channel behind the right one": {
			[]string{push(1), strings.Replace(push(1), "loadtest-0", "loadtest-1", 1)}, tally{Received: 1, Bytes: size + 4, Foreign: 1},
		},
		"a damaged message between good ones": {
			[]string{push(1), strings.Replace(push(1), "..", ".,", 1), push(1)}, tally{Received: 1, Bytes: size + 4, Corrupt: 1, Duplicated: 1},
		},
		"a damaged message":          {[]string{strings.Replace(push(1), "..", ".,", 1)}, tally{Corrupt: 1}},
		"a cut message":              {[]string{push(1)[:100]}, tally{Corrupt: 1}},
		"a message without its end":  {[]string{push(1)[:len(push(1))-3]}, tally{Corrupt: 1}},
		"a message of somebody":      {[]string{`{"push":{"channel":"loadtest-0","pub":{"data":{"a":1}}}}`}, tally{Foreign: 1}},
		"a message of this in text":  {[]string{`{"push":{"channel":"loadtest-0","pub":{"data":"\"data\":\"FT1"}}}`}, tally{Foreign: 1}},
		"no JSON":                    {[]string{"hello"}, tally{Corrupt: 1}},
		"JSON that says nothing":     {[]string{`{"answer":42}`}, tally{Corrupt: 1}},
		"a join":                     {[]string{`{"push":{"channel":"loadtest-0","join":{}}}`}, tally{}},
		"replies, one by one":        {[]string{connected, `{"id":2,"subscribe":{}}`, `{"id":3,"subscribe":{}}`}, tally{Replies: 3, Verdicts: "subscribed;"}},
		"replies in one frame":       {[]string{connected + "\n" + `{"id":2,"subscribe":{}}` + "\n" + `{"id":3,"subscribe":{}}`}, tally{Replies: 3, Verdicts: "subscribed;"}},
		"one subscription is missed": {[]string{connected + "\n" + `{"id":2,"subscribe":{}}`}, tally{Replies: 2}},
		"a message among replies": {
			[]string{connected + "\n" + `{"id":2,"subscribe":{}}` + "\n" + push(1) + "\n" + `{"id":3,"subscribe":{}}`},
			tally{Received: 1, Bytes: size + 1 + 4, Replies: 3, Verdicts: "subscribed;"},
		},
		"a refused subscription": {
			[]string{connected + "\n" + `{"id":2,"error":{"code":103,"message":"permission denied"}}`},
			tally{Replies: 1, Errors: 1, Verdicts: "refused: command refused 103 permission denied;"},
		},
		"an ended subscription":       {[]string{`{"push":{"channel":"loadtest-0","unsubscribe":{"code":2500}}}`}, tally{Errors: 1, Verdicts: "refused: unsubscribed 2500;"}},
		"a ping that wants an answer": {[]string{connected, "{}"}, tally{Replies: 1, Heartbeats: 1, Pings: 1}},
		"a ping that wants none":      {[]string{strings.Replace(connected, "true", "false", 1), "{}"}, tally{Replies: 1, Heartbeats: 1}},
		"a ping among messages": {
			[]string{connected, push(1) + "\n{}\n" + push(2)}, tally{Received: 2, Bytes: 2*size + 1 + 4, Replies: 1, Heartbeats: 1, Pings: 1},
		},
		"an empty frame": {[]string{""}, tally{}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if got := deliver(t, simulator.DialectCentrifugo, tt.frames...); got != tt.want {
				t.Errorf("counted %+v, want %+v", got, tt.want)
			}
		})
	}
}

func TestNATSFrames(t *testing.T) {
	msg := func(n int) string { return string(natsLine("loadtest-0", stamped(n))) }
	size := int64(len(msg(1)))
	tests := map[string]struct {
		frames []string
		want   tally
	}{
		"one message":                  {[]string{msg(1)}, tally{Received: 1, Bytes: size + 4}},
		"joined messages":              {[]string{msg(1) + msg(2) + msg(3)}, tally{Received: 3, Bytes: 3*size + 4}},
		"a reply subject":              {[]string{strings.Replace(msg(1), " 1 ", " 1 inbox.7 ", 1)}, tally{Received: 1, Bytes: size + 8 + 4}},
		"twice and out of order":       {[]string{msg(2) + msg(1) + msg(2)}, tally{Received: 2, Duplicated: 1, Reordered: 1, Bytes: 2*size + 4}},
		"the wrong subject":            {[]string{strings.Replace(msg(1), "loadtest-0", "loadtest-1", 1)}, tally{Foreign: 1}},
		"a longer subject":             {[]string{strings.Replace(msg(1), "loadtest-0", "loadtest-00", 1)}, tally{Foreign: 1}},
		"a damaged message":            {[]string{strings.Replace(msg(1), "..", ".,", 1)}, tally{Corrupt: 1}},
		"a message of somebody":        {[]string{"MSG loadtest-0 1 5\r\nhello\r\n"}, tally{Foreign: 1}},
		"an empty message":             {[]string{"MSG loadtest-0 1 0\r\n\r\n" + msg(1)}, tally{Foreign: 1, Received: 1, Bytes: size}},
		"a message with headers":       {[]string{"HMSG loadtest-0 1 12 17\r\nNATS/1.0\r\n\r\nhello\r\n" + msg(1)}, tally{Foreign: 1, Received: 1, Bytes: size}},
		"a size that is none":          {[]string{"MSG loadtest-0 1 x\r\n" + msg(1)}, tally{Corrupt: 1}},
		"a size beyond the bound":      {[]string{"MSG loadtest-0 1 99999999999999999999\r\n" + msg(1)}, tally{Corrupt: 1}},
		"a payload with another end":   {[]string{"MSG loadtest-0 1 4\r\nhello\r\n" + msg(1)}, tally{Corrupt: 1}},
		"a line without CR":            {[]string{"PING\n"}, tally{Corrupt: 1}},
		"no command":                   {[]string{"HELLO\r\n" + msg(1)}, tally{Corrupt: 1, Received: 1, Bytes: size}},
		"a line without end":           {[]string{strings.Repeat("x", 70_000)}, tally{Corrupt: 1}},
		"goes on after what is broken": {[]string{"MSG loadtest-0 1 x\r\n", msg(1)}, tally{Corrupt: 1, Received: 1, Bytes: size + 4}},
		"the answer to the opening":    {[]string{"INFO {}\r\n", "PONG\r\n"}, tally{Replies: 2, Verdicts: "subscribed;"}},
		"subscribed once":              {[]string{"PONG\r\n", "PONG\r\n"}, tally{Replies: 2, Verdicts: "subscribed;"}},
		"a ping":                       {[]string{"PING\r\nPING\r\n"}, tally{Heartbeats: 2, Pings: 2}},
		"an acknowledgement":           {[]string{"+OK\r\n"}, tally{Replies: 1}},
		"an error":                     {[]string{"-ERR 'Authorization Violation'\r\n"}, tally{Errors: 1, Verdicts: "refused: server error Authorization Violation;"}},
		"an empty frame":               {[]string{""}, tally{}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			// The header of a frame goes with the first thing in it, whether that counts or not.
			if got := deliver(t, simulator.DialectNATS, tt.frames...); got != tt.want {
				t.Errorf("counted %+v, want %+v", got, tt.want)
			}
		})
	}
}

// Frames cut a stream of NATS where they like.
func TestNATSFramesCutAnywhere(t *testing.T) {
	stream := "INFO {\"max_payload\":1048576}\r\nPONG\r\n" + string(natsLine("loadtest-0", stamped(1))) + "PING\r\n" +
		string(natsLine("loadtest-0", stamped(2))) + "MSG loadtest-1 2 3\r\n\r\n\r\r\n" + string(natsLine("loadtest-0", stamped(3)))
	want := tally{Received: 3, Foreign: 1, Heartbeats: 1, Pings: 1, Replies: 2, Verdicts: "subscribed;"}
	check := func(t *testing.T, what string, frames []string) {
		t.Helper()
		got := deliver(t, simulator.DialectNATS, frames...)
		got.Bytes = 0 // the headers of more frames
		if got != want {
			t.Errorf("%s: counted %+v, want %+v", what, got, want)
		}
	}
	for cut := range stream {
		check(t, fmt.Sprintf("cut at %d", cut), []string{stream[:cut], stream[cut:]})
	}
	for _, size := range []int{1, 2, 3, 7, 50, 200} {
		var frames []string
		for from := 0; from < len(stream); from += size {
			frames = append(frames, stream[from:min(from+size, len(stream))])
		}
		check(t, fmt.Sprintf("frames of %d bytes", size), frames)
	}
}

func TestDialectIsChecked(t *testing.T) {
	tests := map[string]struct {
		change func(*simulator.Config)
		want   string
	}{
		"unknown":          {func(c *simulator.Config) { c.Dialect = "mqtt" }, "dialect:"},
		"with subprotocol": {func(c *simulator.Config) { c.Dialect, c.Subprotocol = simulator.DialectNATS, simulator.SubprotocolV1 }, "subprotocol:"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			config := dialectConfig("")
			config.URLs = []string{"ws://127.0.0.1:1/ws"}
			if err := config.Validate(); err != nil {
				t.Fatalf("without a change: %v", err)
			}
			tt.change(config)
			if err := config.Validate(); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("Validate: %v, want something on %q", err, tt.want)
			}
		})
	}
}
