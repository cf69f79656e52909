package manager

import (
	"context"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/reflection"
	"google.golang.org/grpc/status"

	"firetower/core/rawio"
	"firetower/core/topicpb"
)

const (
	// grpcOverhead is what a request may have beside the message's data.
	grpcOverhead = 64 << 10
	// maxStreams bounds the calls in work on one gRPC connection.
	maxStreams = 1024
	// What a publisher may send ahead of what is read, on one stream and on one
	// connection. Windows that gRPC adapts itself are measured with a ping for each
	// message that comes alone: a write here, and a read of the answer. A message that
	// is larger than the window gets one of its size.
	streamWindow = 1 << 20
	connWindow   = 4 << 20
	// A caller that says nothing for this long is probed, and so is a dead one found.
	grpcIdleProbe   = 30 * time.Second
	grpcProbeAnswer = 10 * time.Second
	// Callers may probe us as often as this.
	grpcMinPing = 5 * time.Second
	// answerGrace is how long answers may take to leave when the server stops.
	answerGrace = 100 * time.Millisecond
	// serviceName is what health is asked for.
	serviceName = "topicproto.TopicService"
)

// rpcServer is a gRPC server with its health.
type rpcServer struct {
	*grpc.Server

	health *health.Server
}

// server makes the gRPC server of the service, with health and reflection.
func (s *topicService) server() *rpcServer {
	rpc := &rpcServer{health: health.NewServer()}
	rpc.Server = grpc.NewServer(
		grpc.ForceServerCodecV2(newPublishCodec()),
		grpc.MaxRecvMsgSize(s.opt.MaxPacketBytes+grpcOverhead),
		grpc.MaxConcurrentStreams(maxStreams),
		grpc.StaticStreamWindowSize(streamWindow),
		grpc.StaticConnWindowSize(connWindow),
		grpc.KeepaliveParams(keepalive.ServerParameters{Time: grpcIdleProbe, Timeout: grpcProbeAnswer}),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: grpcMinPing, PermitWithoutStream: true}),
		grpc.WaitForHandlers(true), // Run must leave none behind
		grpc.UnaryInterceptor(s.unary),
		grpc.StreamInterceptor(s.stream),
	)
	topicpb.RegisterTopicServiceServer(rpc, s)
	grpc_health_v1.RegisterHealthServer(rpc, rpc.health)
	reflection.Register(rpc)
	rpc.health.SetServingStatus(serviceName, grpc_health_v1.HealthCheckResponse_SERVING)
	return rpc
}

// drain refuses further calls, waits until those in work are answered or ctx is
// over, and stops the server. A stream that is open counts as in work only
// between a message and its answer.
func (s *topicService) drain(ctx context.Context, rpc *rpcServer) {
	rpc.health.Shutdown()
	s.gate.close()
	var flushes sync.WaitGroup
	for _, a := range s.acks.list() {
		flushes.Go(a.flush) // it waits for a publisher that does not read, which Stop ends
	}
	s.gate.wait(ctx)
	// The last answers may be on their way through gRPC, which Stop would cut off. A
	// stream that stays open keeps the graceful stop from returning.
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		rpc.GracefulStop()
	}()
	grace := time.NewTimer(answerGrace)
	defer grace.Stop()
	select {
	case <-stopped:
	case <-grace.C:
	case <-ctx.Done():
	}
	rpc.Stop()
	<-stopped
	flushes.Wait()
}

func (s *topicService) unary(ctx context.Context, in any, info *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
	if err := s.authorize(ctx, info.FullMethod); err != nil {
		return nil, err
	}
	if isHealth(info.FullMethod) { // which tells of a drain too
		return next(ctx, in)
	}
	if !s.gate.enter() {
		return nil, errDraining()
	}
	defer s.gate.leave(1)
	return next(ctx, in)
}

func (s *topicService) stream(srv any, stream grpc.ServerStream, info *grpc.StreamServerInfo, next grpc.StreamHandler) error {
	if err := s.authorize(stream.Context(), info.FullMethod); err != nil {
		return err
	}
	return next(srv, stream)
}

func errDraining() error {
	return status.Error(codes.Unavailable, "the manager is stopping")
}

func isHealth(method string) bool {
	return strings.HasPrefix(method, "/"+grpc_health_v1.Health_ServiceDesc.ServiceName+"/")
}

// authorize asks for the token where there is one. Health is told to anybody:
// those who probe it have no secrets, and it tells nothing else.
func (s *topicService) authorize(ctx context.Context, method string) error {
	if s.opt.Token == "" || isHealth(method) {
		return nil
	}
	md, _ := metadata.FromIncomingContext(ctx)
	given := false
	for _, v := range md.Get("authorization") {
		token, ok := bearer(v)
		if ok && tokenOK(s.bucket.tokenHash, token) {
			return nil
		}
		given = given || ok
	}
	if given {
		return status.Error(codes.Unauthenticated, "authorization: the token given is not this manager's")
	}
	return status.Error(codes.Unauthenticated, "authorization: want the metadata \"authorization: Bearer TOKEN\" with this manager's token")
}

// bearer takes the token out of an Authorization value (RFC 6750 2.1; the scheme
// is case-insensitive, RFC 9110 11.1).
func bearer(value string) (token string, ok bool) {
	scheme, token, ok := strings.Cut(value, " ")
	return token, ok && strings.EqualFold(scheme, "bearer")
}

// gate counts calls in work, and lets none in once it is closed.
type gate struct {
	state atomic.Int64  // how many are inside; gateClosed more when it is closed
	empty chan struct{} // closed when the gate is closed and nobody is inside
	once  sync.Once     // closes empty
}

// gateClosed is above any number of calls.
const gateClosed = 1 << 62

func newGate() *gate { return &gate{empty: make(chan struct{})} }

func (g *gate) enter() bool {
	if g.state.Add(1) > gateClosed {
		g.leave(1)
		return false
	}
	return true
}

// leave lets n out.
func (g *gate) leave(n int64) {
	if g.state.Add(-n) == gateClosed {
		g.once.Do(func() { close(g.empty) })
	}
}

func (g *gate) isClosed() bool { return g.state.Load() >= gateClosed }

// close lets nobody in any more. It may be called once.
func (g *gate) close() {
	g.state.Add(gateClosed)
	g.enter() // and out again: there may be nobody else to find the gate empty
}

// wait waits until a closed gate is empty, or ctx is over.
func (g *gate) wait(ctx context.Context) {
	select {
	case <-g.empty:
	case <-ctx.Done():
	}
}

// rpcListener is a listener whose connections have direct calls. gRPC sets a limit for what is
// not acknowledged on connections of the net package alone, so it is set here.
type rpcListener struct{ net.Listener }

// Accept implements net.Listener.
func (l rpcListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	if tcp, ok := conn.(tcpConn); ok {
		setUserTimeout(tcp, int(grpcProbeAnswer.Milliseconds()))
	}
	return rawio.Wrap(conn), nil
}
