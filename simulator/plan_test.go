package simulator_test

import (
	"encoding/json"
	"fmt"
	"reflect"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/leanovate/gopter/gen"
	"github.com/leanovate/gopter/prop"

	"firetower/simulator"
)

func TestPropertySlotIsTheInverseOfTopic(t *testing.T) {
	properties(t, 500, "Slot(conn, Topic(conn, k)) is k, and no other topic has a slot", prop.ForAll(
		func(count, perConn, conn int) string {
			plan := simulator.TopicPlan{Count: count, PerConn: min(perConn, count), Prefix: "t"}
			mine := make(map[int]int)
			for k := range plan.PerConn {
				mine[plan.Topic(conn, k)] = k
			}
			if len(mine) != plan.PerConn {
				return fmt.Sprintf("%d distinct topics, want %d", len(mine), plan.PerConn)
			}
			for topic := -1; topic <= count; topic++ {
				want, ok := mine[topic]
				if !ok {
					want = -1
				}
				if got := plan.Slot(conn, topic); got != want {
					return fmt.Sprintf("Slot(%d, %d) = %d, want %d", conn, topic, got, want)
				}
			}
			return ""
		},
		gen.IntRange(1, 60), gen.IntRange(1, 60), gen.OneGenOf(gen.IntRange(0, 100), gen.IntRange(0, 1<<24)),
	))
}

func TestPlanSubscribers(t *testing.T) {
	tests := map[string]struct {
		plan     simulator.TopicPlan
		first, n int
		want     []int
	}{
		"one topic":               {simulator.TopicPlan{Count: 1, PerConn: 1}, 0, 10, []int{10}},
		"each its own":            {simulator.TopicPlan{Count: 3, PerConn: 1}, 0, 3, []int{1, 1, 1}},
		"second worker":           {simulator.TopicPlan{Count: 4, PerConn: 1}, 5, 2, []int{0, 1, 1, 0}},
		"two each, wrapping":      {simulator.TopicPlan{Count: 3, PerConn: 2}, 0, 3, []int{2, 2, 2}},
		"none":                    {simulator.TopicPlan{Count: 2, PerConn: 1}, 7, 0, []int{0, 0}},
		"all topics for everyone": {simulator.TopicPlan{Count: 3, PerConn: 3}, 0, 5, []int{5, 5, 5}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if got := tt.plan.Subscribers(tt.first, tt.n); !reflect.DeepEqual(got, tt.want) {
				t.Errorf("Subscribers(%d, %d) = %v, want %v", tt.first, tt.n, got, tt.want)
			}
		})
	}
}

func TestSubscribeRequest(t *testing.T) {
	config := simulator.DefaultConfig()
	config.Topics = simulator.TopicPlan{Count: 5, PerConn: 3, Prefix: "room-"}
	for subprotocol, want := range map[string]string{
		"":                      `{"type":"subscribe","topic":"room-3,room-4,room-0"}`,
		simulator.SubprotocolV0: `{"type":"subscribe","topic":"room-3,room-4,room-0"}`,
		simulator.SubprotocolV1: `{"type":"subscribe","topic":"room-3,room-4,room-0","id":"simulator-subscribe"}`,
	} {
		config.Subprotocol = subprotocol
		got := simulator.SubscribeRequest(&config, 1)
		if string(got) != want || !json.Valid(got) {
			t.Errorf("subprotocol %q: %s, want %s", subprotocol, got, want)
		}
	}
}

func TestRamp(t *testing.T) {
	tests := map[string]struct {
		rate    float64
		elapsed time.Duration
		n, want int
	}{
		"the first at once":         {100, 0, 1000, 1},
		"one interval":              {100, 10 * time.Millisecond, 1000, 2},
		"a second":                  {100, time.Second, 1000, 101},
		"never more than there are": {100, time.Hour, 1000, 1000},
		"no limit":                  {0, 0, 1000, 1000},
		"slower than one a second":  {0.5, 3 * time.Second, 1000, 2},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if got := simulator.RampAllowed(tt.rate, int64(tt.elapsed), tt.n); got != tt.want {
				t.Errorf("%d, want %d", got, tt.want)
			}
		})
	}
}

func TestShareAddsUp(t *testing.T) {
	for n := range 20 {
		for parts := 1; parts < 8; parts++ {
			sum := 0
			for i := range parts {
				s := simulator.Share(n, parts, i)
				if s < n/parts || s > n/parts+1 {
					t.Errorf("Share(%d, %d, %d) = %d", n, parts, i, s)
				}
				sum += s
			}
			if sum != n {
				t.Errorf("%d over %d parts adds up to %d", n, parts, sum)
			}
		}
	}
}

func TestConfigValidate(t *testing.T) {
	good := func() simulator.Config {
		c := simulator.DefaultConfig()
		c.URLs, c.Connections = []string{"ws://127.0.0.1:9999/ws"}, 10
		return c
	}
	if err := good().Validate(); err != nil {
		t.Fatalf("the defaults are refused: %v", err)
	}
	tests := map[string]struct {
		change func(*simulator.Config)
		want   string // the key that must be named
	}{
		"no server":                {func(c *simulator.Config) { c.URLs = nil }, "urls"},
		"wss":                      {func(c *simulator.Config) { c.URLs = []string{"wss://127.0.0.1:1/"}; c.Engine = simulator.EngineEpoll }, "urls"},
		"host name":                {func(c *simulator.Config) { c.URLs = []string{"ws://localhost:1/"} }, "urls"},
		"no port":                  {func(c *simulator.Config) { c.URLs = []string{"ws://127.0.0.1/"} }, "urls"},
		"no connections":           {func(c *simulator.Config) { c.Connections = 0 }, "connections"},
		"negative first index":     {func(c *simulator.Config) { c.FirstIndex = -1 }, "first_index"},
		"source is a name":         {func(c *simulator.Config) { c.SourceIPs = []string{"localhost"} }, "source_ips"},
		"other subprotocol":        {func(c *simulator.Config) { c.Subprotocol = "mqtt" }, "subprotocol"},
		"no shard":                 {func(c *simulator.Config) { c.Shards = 0 }, "shards"},
		"no publisher":             {func(c *simulator.Config) { c.Publishers = 0 }, "publishers"},
		"too many publishers":      {func(c *simulator.Config) { c.Publishers = 65537 }, "publishers"},
		"negative rate":            {func(c *simulator.Config) { c.ConnectRate = -1 }, "connect_rate"},
		"no handshakes":            {func(c *simulator.Config) { c.HandshakesInFlight = 0 }, "handshakes_in_flight"},
		"no handshake timeout":     {func(c *simulator.Config) { c.HandshakeTimeout = 0 }, "handshake_timeout"},
		"negative buffer":          {func(c *simulator.Config) { c.ReceiveBuffer = -1 }, "receive_buffer"},
		"tiny frames":              {func(c *simulator.Config) { c.MaxFrame = 1 }, "max_frame"},
		"no rows":                  {func(c *simulator.Config) { c.MaxRows = 0 }, "max_rows"},
		"rows without end":         {func(c *simulator.Config) { c.MaxRows = 1 << 30 }, "max_rows"},
		"no batch":                 {func(c *simulator.Config) { c.Batch = 0 }, "batch"},
		"tiny read buffer":         {func(c *simulator.Config) { c.ReadBuffer = 100 }, "read_buffer"},
		"no deadline":              {func(c *simulator.Config) { c.MessageDeadline = 0 }, "message_deadline"},
		"endless rest":             {func(c *simulator.Config) { c.Rest = time.Second }, "rest"},
		"negative slow":            {func(c *simulator.Config) { c.Slow = []simulator.SlowSpec{{Count: -1}} }, "slow[0].count"},
		"other slow kind":          {func(c *simulator.Config) { c.Slow = []simulator.SlowSpec{{Count: 1, Kind: "lazy"}} }, "slow[0].kind"},
		"more slow than there are": {func(c *simulator.Config) { c.Slow = []simulator.SlowSpec{{Count: 11}} }, "slow:"},
		"other engine":             {func(c *simulator.Config) { c.Engine = "fibers" }, "engine"},
		"no topic":                 {func(c *simulator.Config) { c.Topics.Count = 0 }, "topics.count"},
		"more topics than exist":   {func(c *simulator.Config) { c.Topics.PerConn = 2 }, "topics.per_conn"},
		"prefix with a comma":      {func(c *simulator.Config) { c.Topics.Prefix = "a,b" }, "topics.prefix"},
		"prefix with a quote":      {func(c *simulator.Config) { c.Topics.Prefix = `a"` }, "topics.prefix"},
		"no prefix":                {func(c *simulator.Config) { c.Topics.Prefix = "" }, "topics.prefix"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			c := good()
			tt.change(&c)
			err := c.Validate()
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("Validate: %v, want it to name %s", err, tt.want)
			}
			if _, newErr := simulator.New(c); newErr == nil {
				t.Error("New accepts it")
			}
		})
	}
	t.Run("all problems at once", func(t *testing.T) {
		c := good()
		c.URLs, c.Shards, c.Topics.Count = nil, 0, 0
		err := c.Validate()
		for _, key := range []string{"urls", "shards", "topics.count"} {
			if err == nil || !strings.Contains(err.Error(), key) {
				t.Errorf("%s is not named: %v", key, err)
			}
		}
	})
	for _, engine := range []simulator.Engine{simulator.EngineRing, simulator.EngineEpoll} {
		t.Run(string(engine)+" elsewhere", func(t *testing.T) {
			c := good()
			c.Engine = engine
			if err := c.Validate(); (err == nil) != (runtime.GOOS == "linux") {
				t.Errorf("on %s: %v", runtime.GOOS, err)
			}
		})
	}
}

func TestConfigTravelsAsJSON(t *testing.T) {
	c := simulator.DefaultConfig()
	c.URLs, c.Connections, c.RunID = []string{"ws://127.0.0.1:1/ws"}, 5, 1<<64-1
	c.Slow = []simulator.SlowSpec{{Count: 1, Kind: simulator.SlowNeverReads, ReceiveBuffer: 2048}}
	c.SourceIPs = []string{"127.0.1.1"}
	text, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	var back simulator.Config
	if err := json.Unmarshal(text, &back); err != nil || !reflect.DeepEqual(back, c) {
		t.Errorf("%+v comes back as %+v, %v", c, back, err)
	}
}
