package simulator

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"firetower/simulator/clock"
)

// ErrState says that a method of a fleet was called out of order: Run, Connect and Finish are called once each, in that
// order.
var ErrState = errors.New("fleet is not in the right state")

// ErrStopped says that the fleet's Run ended before the call was done.
var ErrStopped = errors.New("fleet has stopped")

// ConnectError says that some connections never subscribed.
type ConnectError struct {
	// Planned is how many connections were to subscribe; Refused counts those that did not, by reason.
	Planned int
	Refused map[string]int64
}

// Error names the reasons and how often each occurred.
func (e *ConnectError) Error() string {
	return fmt.Sprintf("of %d connections these did not subscribe: %v", e.Planned, e.Refused)
}

// Fleet is a number of simulated clients. Use it in this order, with Run in a goroutine of its own:
//
//	fleet, err := simulator.New(config)
//	go fleet.Run(ctx)              // owns everything; returns after Finish
//	err = fleet.Connect(ctx)       // all connected and subscribed; waits for Run to have begun
//	... publish probes until fleet.Probed() says that all deliver; then publish; then wait for the drain
//	report, err := fleet.Finish(ctx, sent)
//
// Run returns after Finish, or when its context ends.
type Fleet struct {
	config Config
	clock  *clock.Clock
	engine engine

	mu    sync.Mutex // guards the following
	state fleetState

	windowMu sync.Mutex // guards the following; held while the shards are asked
	window   windowState

	started chan struct{} // closed when Run has begun
}

type fleetState int

const (
	stateNew fleetState = iota
	stateRunning
	stateConnecting
	stateConnected
	stateFinished
)

// engine is one way to hold the connections.
type engine interface {
	// run owns every socket and loop, and returns when all have ended: after finish, or with its context.
	run(ctx context.Context) error
	// connect brings every connection to its subscription, and says which did not get there.
	connect(ctx context.Context) error
	// disconnect resets those of the given connections, counted within the fleet, that have a connection, and says how
	// many did.
	disconnect(ctx context.Context, conns []int) (int, error)
	// snapshots asks every shard for its snapshot; before are those of the last time, or nil.
	snapshots(ctx context.Context, before []*snapshot) ([]*snapshot, error)
	// finish stops receiving, and hands over the parts of the report once nobody writes them any more.
	finish(ctx context.Context) ([]*account, error)
	// counters returns the published figures.
	counters() Counters
}

// New validates the configuration and returns a fleet that holds no socket yet.
func New(config Config) (*Fleet, error) {
	if err := config.Validate(); err != nil {
		return nil, fmt.Errorf("simulator: %w", err)
	}
	var err error
	if config.Engine, err = chooseEngine(&config, ringFault()); err != nil {
		return nil, fmt.Errorf("simulator: %w", err)
	}
	clk, err := clock.New()
	if err != nil {
		return nil, fmt.Errorf("simulator: %w", err)
	}
	f := &Fleet{config: config, clock: clk, started: make(chan struct{}), window: windowState{at: clk.Now()}}
	f.engine, err = newEngine(config, clk)
	if err != nil {
		return nil, fmt.Errorf("simulator: %w", err)
	}
	return f, nil
}

// Engine is the engine that the fleet uses: never EngineAuto.
func (f *Fleet) Engine() Engine { return f.config.Engine }

// Run owns all sockets and loops of the fleet. It returns when all of them have ended: with nil after Finish, and
// with the context's error when ctx ends first.
func (f *Fleet) Run(ctx context.Context) error {
	if err := f.advance(stateNew, stateRunning); err != nil {
		return err
	}
	close(f.started)
	return f.engine.run(ctx)
}

// Connect ramps up all connections, and returns when each has subscribed or failed. The error is a [*ConnectError]
// when some failed; the others stay and the fleet is usable. With subprotocol v1 a connection has subscribed when the
// server has acknowledged it; with v0, which acknowledges nothing, when the request was written: probes tell the rest.
func (f *Fleet) Connect(ctx context.Context) error {
	select {
	case <-f.started:
	case <-ctx.Done():
		return ctx.Err()
	}
	if err := f.advance(stateRunning, stateConnecting); err != nil {
		return err
	}
	err := f.engine.connect(ctx)
	var refused *ConnectError
	if err == nil || errors.As(err, &refused) {
		if err := f.advance(stateConnecting, stateConnected); err != nil {
			return err
		}
	}
	return err
}

// Counters returns the figures so far. It is safe at any time, from any goroutine, and cheap.
func (f *Fleet) Counters() Counters { return f.engine.counters() }

// Probed is the number of healthy connections that have seen a message of [PhaseProbe] on every topic that they
// subscribe to. Once it is [Config.Healthy], the fleet is ready.
func (f *Fleet) Probed() int { return int(f.engine.counters().Probed) }

// Finish stops receiving, says goodbye to the server (close code 1000) and reports. The caller has waited for what was
// still on its way; sent is everything that was published, by phase.
func (f *Fleet) Finish(ctx context.Context, sent []TopicSent) (*Report, error) {
	if err := f.advance(stateConnected, stateFinished); err != nil {
		return nil, err
	}
	accounts, err := f.engine.finish(ctx)
	if err != nil {
		return nil, err
	}
	return buildReport(f.config, accounts, sent)
}

// require says what is wrong when the fleet is not in the given state.
func (f *Fleet) require(state fleetState) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.state != state {
		return fmt.Errorf("%w: is %d, want %d", ErrState, f.state, state)
	}
	return nil
}

func (f *Fleet) advance(from, to fleetState) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.state != from {
		return fmt.Errorf("%w: is %d, want %d", ErrState, f.state, from)
	}
	f.state = to
	return nil
}
