package dns

import (
	"net"
	"testing"

	"golang.org/x/net/dns/dnsmessage"
)

func TestAnswers(t *testing.T) {
	find := func(namespace, name string) (net.IP, bool) {
		address := map[string]net.IP{"shop/web": net.IPv4(10, 96, 0, 7).To4()}[namespace+"/"+name]
		return address, address != nil
	}
	for host, want := range map[string]struct {
		kind    dnsmessage.Type
		code    dnsmessage.RCode
		address string
	}{
		"web.shop.svc.cluster.local.":   {dnsmessage.TypeA, dnsmessage.RCodeSuccess, "10.96.0.7"},
		"WEB.shop.svc.cluster.local.":   {dnsmessage.TypeA, dnsmessage.RCodeSuccess, "10.96.0.7"},
		"web.shop.svc.Cluster.local.":   {dnsmessage.TypeAAAA, dnsmessage.RCodeSuccess, ""},
		"api.shop.svc.cluster.local.":   {dnsmessage.TypeA, dnsmessage.RCodeNameError, ""},
		"x.web.shop.svc.cluster.local.": {dnsmessage.TypeA, dnsmessage.RCodeNameError, ""},
		"example.com.":                  {dnsmessage.TypeA, dnsmessage.RCodeNameError, ""},
	} {
		t.Run(host, func(t *testing.T) {
			asked := dnsmessage.Message{Header: dnsmessage.Header{ID: 7}, Questions: []dnsmessage.Question{
				{Name: dnsmessage.MustNewName(host), Type: want.kind, Class: dnsmessage.ClassINET},
			}}
			question, err := asked.Pack()
			if err != nil {
				t.Fatal(err)
			}
			raw, err := AnswerTo(question, find)
			if err != nil {
				t.Fatal(err)
			}
			var got dnsmessage.Message
			if err := got.Unpack(raw); err != nil {
				t.Fatal(err)
			}
			address := ""
			if len(got.Answers) == 1 {
				is := got.Answers[0].Body.(*dnsmessage.AResource).A
				address = net.IP(is[:]).String()
			}
			if got.ID != 7 || !got.Response || got.RCode != want.code || address != want.address {
				t.Errorf("got %+v, want %v %q", got, want.code, want.address)
			}
		})
	}
}

func TestQuestionsThatAreNone(t *testing.T) {
	for _, question := range []string{"", "x", "\x00\x07\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\xff"} {
		if answer, err := AnswerTo([]byte(question), nil); err == nil {
			t.Errorf("%q is answered by %x", question, answer)
		}
	}
}
