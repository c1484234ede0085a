package nodenet_test

import (
	"bytes"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"runtime"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"

	"github.com/rolecall/rolecall/internal/agent/nodenet"
	"github.com/rolecall/rolecall/internal/fault"
)

var (
	v4 = netip.MustParseAddr("169.254.170.23")
	v6 = netip.MustParseAddr("fd00:ec2::23")
)

// namespace moves the test into a network namespace of its own, on a thread
// that ends with it.
func namespace(t *testing.T) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("NOT TESTED: network namespaces need root")
	}
	runtime.LockOSThread() // and never unlocked: the thread is not used again
	made, err := netns.New()
	if err != nil {
		t.Skipf("NOT TESTED: no network namespace: %v", err)
	}
	t.Cleanup(func() { made.Close() })
}

func request() (nodenet.Request, *bytes.Buffer) {
	var log bytes.Buffer
	return nodenet.Request{Addresses: []netip.Addr{v4, v6}, Log: slog.New(slog.NewTextHandler(&log, nil))}, &log
}

func has(t *testing.T, address netip.Addr) string {
	t.Helper()
	links, err := netlink.LinkList()
	if err != nil {
		t.Fatal(err)
	}
	for _, link := range links {
		addresses, err := netlink.AddrList(link, netlink.FAMILY_ALL)
		if err != nil {
			t.Fatal(err)
		}
		for _, one := range addresses {
			if found, _ := netip.AddrFromSlice(one.IP); found.Unmap() == address {
				return link.Attrs().Name
			}
		}
	}
	return ""
}

// TestPrepare makes the link with a real kernel, whatever types it has, listens
// there, does nothing the second time, and leaves nothing behind (spec podidentity rows G16, G17).
func TestPrepare(t *testing.T) {
	namespace(t)
	asked, log := request()
	first, err := nodenet.Prepare(asked)
	if err != nil {
		t.Fatalf("%v\n%s", err, log)
	}
	t.Logf("link of type %s\n%s", first.LinkType, log)
	for _, address := range []netip.Addr{v4, v6} {
		if on := has(t, address); on != nodenet.LinkName && on != "lo" {
			t.Errorf("%s is on %q", address, on)
		}
		listener, err := nodenet.Listen(t.Context(), address, 80, false)
		if err != nil {
			t.Fatal(err)
		}
		defer listener.Close()
	}
	routes, err := netlink.RouteList(nil, netlink.FAMILY_V4)
	if err != nil {
		t.Fatal(err)
	}
	if len(routes) != 1 || routes[0].Dst.String() != "169.254.170.23/32" {
		t.Errorf("routes %v", routes)
	}
	again, err := nodenet.Prepare(asked)
	if err != nil || again.LinkType != first.LinkType {
		t.Fatalf("the second time: %v, %v", again, err)
	}
	// What was found is not removed by who found it.
	if err := again.Remove(); err != nil || has(t, v4) == "" {
		t.Errorf("the second one removed the first one's link (%v)", err)
	}
	if err := first.Remove(); err != nil || has(t, v4) != "" || has(t, v6) != "" {
		t.Errorf("left behind: %q %q (%v)", has(t, v4), has(t, v6), err)
	}
}

// TestAddressOfAnother: an agent that is there already is named.
func TestAddressOfAnother(t *testing.T) {
	namespace(t)
	attributes := netlink.NewLinkAttrs()
	attributes.Name = "builtin0"
	bridge := &netlink.Bridge{LinkAttrs: attributes}
	if err := netlink.LinkAdd(bridge); err != nil {
		t.Skipf("NOT TESTED: no bridge: %v", err)
	}
	if err := netlink.AddrAdd(
		bridge, &netlink.Addr{IPNet: &net.IPNet{IP: v4.AsSlice(), Mask: net.CIDRMask(32, 32)}},
	); err != nil {
		t.Fatal(err)
	}
	asked, _ := request()
	if _, err := nodenet.Prepare(asked); fault.KindOf(err) != fault.Conflict || !strings.Contains(
		err.Error(), "builtin0",
	) {
		t.Errorf("got %v", err)
	}
}

// TestOnLoopback: addresses that are on lo are as good; RemoveAll takes them.
func TestOnLoopback(t *testing.T) {
	namespace(t)
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		t.Fatal(err)
	}
	if err := netlink.AddrAdd(
		lo, &netlink.Addr{IPNet: &net.IPNet{IP: v4.AsSlice(), Mask: net.CIDRMask(32, 32)}},
	); err != nil {
		t.Fatal(err)
	}
	asked, _ := request()
	setup, err := nodenet.Prepare(asked)
	if err != nil || setup.LinkType != "lo" || has(t, v6) != "lo" {
		t.Fatalf("got %v, %v, IPv6 on %q", setup, err, has(t, v6))
	}
	if err := setup.Remove(); err != nil || has(t, v4) != "lo" || has(t, v6) != "" {
		t.Errorf("after Remove: %q %q (%v)", has(t, v4), has(t, v6), err)
	}
	if err := nodenet.RemoveAll(asked.Addresses); err != nil || has(t, v4) != "" {
		t.Errorf("after RemoveAll: %q (%v)", has(t, v4), err)
	}
	if err := nodenet.RemoveAll(asked.Addresses); err != nil {
		t.Errorf("removing nothing: %v", err)
	}
}

// TestNoIPv6: a node without IPv6 serves IPv4 (spec podidentity row G18), unless told otherwise.
func TestNoIPv6(t *testing.T) {
	namespace(t)
	for _, which := range []string{"all", "default"} {
		if err := os.WriteFile(
			"/proc/thread-self/root/proc/sys/net/ipv6/conf/"+which+"/disable_ipv6", []byte("1"), 0o600,
		); err != nil {
			t.Skipf("NOT TESTED: IPv6 cannot be switched off: %v", err)
		}
	}
	asked, log := request()
	setup, err := nodenet.Prepare(asked)
	if err != nil {
		t.Fatal(err)
	}
	if len(setup.Missing) != 1 || setup.Missing[0] != v6 || !strings.Contains(log.String(), "going on with IPv4") {
		t.Errorf("missing %v\n%s", setup.Missing, log)
	}
	if err := setup.Remove(); err != nil {
		t.Fatal(err)
	}
	asked.RequireIPv6 = true
	if _, err := nodenet.Prepare(asked); err == nil {
		t.Error("IPv6 was required and is not there")
	}
	if has(t, v4) != "" {
		t.Error("what failed left its link behind")
	}
	if _, err := nodenet.Listen(t.Context(), v6, 80, false); !nodenet.NoAddress(err) {
		t.Errorf("listening on IPv6: %v", err)
	}
}

// TestListen: what is in the way is named, and two agents overlap when asked.
func TestListen(t *testing.T) {
	namespace(t)
	asked, _ := request()
	if _, err := nodenet.Prepare(asked); err != nil {
		t.Fatal(err)
	}
	everywhere, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "0.0.0.0:80")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := nodenet.Listen(t.Context(), v4, 80, false); fault.KindOf(err) != fault.Conflict {
		t.Errorf("got %v", err)
	}
	everywhere.Close()
	for range 2 {
		one, err := nodenet.Listen(t.Context(), v4, 80, true)
		if err != nil {
			t.Fatal(err)
		}
		defer one.Close()
	}
	if _, err := nodenet.Listen(t.Context(), netip.MustParseAddr("192.0.2.1"), 80, false); !nodenet.NoAddress(err) {
		t.Errorf("got %v", err)
	}
}
