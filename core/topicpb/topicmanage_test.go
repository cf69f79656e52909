package topicpb_test

import (
	"encoding/hex"
	"fmt"
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"firetower/core/topicpb"
)

// Existing programs call these methods with these messages. Additions are free, changes are not.
func TestOlderAPIKeepsNamesNumbersAndTypes(t *testing.T) {
	file := topicpb.File_topicmanage_proto
	service := file.Services().ByName("TopicService")
	if service == nil || service.FullName() != "topicproto.TopicService" {
		t.Fatalf("service is %v", service)
	}
	for _, name := range []string{"GetConnectNum", "SubscribeTopic", "UnSubscribeTopic", "Publish", "CheckTopicExist"} {
		m := service.Methods().ByName(protoreflect.Name(name))
		if m == nil || string(m.Input().Name()) != name+"Request" || string(m.Output().Name()) != name+"Response" ||
			m.IsStreamingClient() || m.IsStreamingServer() {
			t.Errorf("method %s is not what it was: %v", name, m)
		}
	}
	for _, row := range []struct {
		message, field string
		number         protoreflect.FieldNumber
		kind           protoreflect.Kind
		list           bool
	}{
		{"GetConnectNumRequest", "Topic", 1, protoreflect.StringKind, false},
		{"GetConnectNumResponse", "Number", 1, protoreflect.Int64Kind, false},
		{"SubscribeTopicRequest", "Topic", 1, protoreflect.StringKind, true},
		{"SubscribeTopicRequest", "Ip", 2, protoreflect.StringKind, false},
		{"UnSubscribeTopicRequest", "Topic", 1, protoreflect.StringKind, true},
		{"UnSubscribeTopicRequest", "Ip", 2, protoreflect.StringKind, false},
		{"PublishRequest", "Topic", 1, protoreflect.StringKind, false},
		{"PublishRequest", "Data", 2, protoreflect.BytesKind, false},
		{"PublishRequest", "MessageId", 3, protoreflect.StringKind, false},
		{"PublishRequest", "Source", 4, protoreflect.StringKind, false},
		{"PublishResponse", "Ok", 1, protoreflect.BoolKind, false},
		{"CheckTopicExistRequest", "Topic", 1, protoreflect.StringKind, false},
		{"CheckTopicExistResponse", "Ok", 1, protoreflect.BoolKind, false},
	} {
		t.Run(row.message+"."+row.field, func(t *testing.T) {
			m := file.Messages().ByName(protoreflect.Name(row.message))
			if m == nil {
				t.Fatal("the message is gone")
			}
			f := m.Fields().ByName(protoreflect.Name(row.field))
			if f == nil || f.Number() != row.number || f.Kind() != row.kind || f.IsList() != row.list {
				t.Errorf("is %v", f)
			}
		})
	}
}

func TestOlderAPIGoldenBytes(t *testing.T) {
	for _, row := range []struct {
		message proto.Message
		want    string
	}{
		{&topicpb.PublishRequest{Topic: "t", Data: []byte("d"), MessageId: "m", Source: "s"}, "0a01741201641a016d220173"},
		{&topicpb.PublishResponse{Ok: true}, "0801"},
		{&topicpb.SubscribeTopicRequest{Topic: []string{"a", "b"}, Ip: "i"}, "0a01610a0162120169"},
		{&topicpb.UnSubscribeTopicRequest{Topic: []string{"a"}, Ip: "i"}, "0a0161120169"},
		{&topicpb.SubscribeTopicResponse{}, ""},
		{&topicpb.GetConnectNumRequest{Topic: "t"}, "0a0174"},
		{&topicpb.GetConnectNumResponse{Number: 300}, "08ac02"},
		{&topicpb.CheckTopicExistRequest{Topic: "t"}, "0a0174"},
		{&topicpb.CheckTopicExistResponse{Ok: true}, "0801"},
	} {
		t.Run(fmt.Sprintf("%T", row.message), func(t *testing.T) {
			b, err := proto.MarshalOptions{Deterministic: true}.Marshal(row.message)
			if err != nil {
				t.Fatal(err)
			}
			if got := hex.EncodeToString(b); got != row.want {
				t.Errorf("got %s, want %s", got, row.want)
			}
		})
	}
}
