/* Opening on a hostile machine: links, FIFOs, files with other names, what may be believed, what
 * killed processes left; and the processors that control groups allow. */
#define _GNU_SOURCE
#include "test_util.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/cgroup.h"
#include "base/free_memory.h"
#include "base/file.h"
#include "base/lock.h"

static char folder[32];
static struct dvit_error error;

static int make_folder(void **state)
{
    (void)state;
    test_folder_create(folder);
    return 0;
}

static int remove_folder(void **state)
{
    (void)state;
    test_folder_remove(folder);
    return 0;
}

static const char *in_folder(char path[64], const char *name)
{
    snprintf(path, 64, "%s/%s", folder, name);
    return path;
}

static const enum dvit_file_opening writing[] = {DVIT_OPEN_UPDATE, DVIT_OPEN_APPEND, DVIT_OPEN_NEW,
                                                 DVIT_OPEN_UNUSED};
enum { WAYS = sizeof writing / sizeof *writing };

static void links_are_not_followed_to_what_is_written(void **state)
{
    char victim[64], link[64], dangling[64], none[64];
    struct dvit_lock lock;
    int fd;
    (void)state;
    assert_ok(dvit_file_replace(in_folder(victim, "victim"), "precious", 8, &error), &error);
    assert_int_equal(symlink("victim", in_folder(link, "link")), 0);
    assert_int_equal(symlink("none", in_folder(dangling, "dangling")), 0);
    for (int i = 0; i < WAYS; i++) {
        assert_int_not_equal(dvit_file_open(&fd, link, writing[i], NULL, &error), DVIT_OK);
        assert_int_equal(fd, -1);
        assert_int_not_equal(dvit_file_open(&fd, dangling, writing[i], NULL, &error), DVIT_OK);
    }
    assert_fails(dvit_lock_take(&lock, link, &error), &error, DVIT_ERROR_IO, "is a symbolic link");
    assert_fails(dvit_lock_take(&lock, dangling, &error), &error, DVIT_ERROR_IO, "symbolic link");
    assert_false(dvit_file_exists(in_folder(none, "none")));
    test_assert_content(victim, "precious", 8);
    assert_ok(dvit_file_open(&fd, link, DVIT_OPEN_READ, NULL, &error), &error);
    close(fd);
    assert_ok(dvit_file_replace(link, "new", 3, &error), &error); /* the link itself */
    test_assert_content(victim, "precious", 8);
}

static void what_is_no_file_is_refused_at_once(void **state)
{
    char path[64];
    struct dvit_lock lock;
    int fd;
    (void)state;
    alarm(20); /* opening a FIFO could wait for ever */
    assert_int_equal(mkfifo(in_folder(path, "fifo"), 0600), 0);
    assert_int_equal(mkdir(in_folder(path, "folder"), 0700), 0);
    const char *const names[] = {"fifo", "folder"};
    for (int k = 0; k < 2; k++) {
        in_folder(path, names[k]);
        for (int i = 0; i < WAYS; i++)
            assert_int_not_equal(dvit_file_open(&fd, path, writing[i], NULL, &error), DVIT_OK);
        assert_fails(dvit_file_open(&fd, path, DVIT_OPEN_READ, NULL, &error), &error, DVIT_ERROR_IO,
                     "is not a regular file");
        assert_fails(dvit_lock_take(&lock, path, &error), &error, DVIT_ERROR_IO,
                     "is not a regular file");
        assert_true(access(path, F_OK) == 0);
    }
    alarm(0);
    assert_int_equal(rmdir(path), 0);
}

static void other_names_of_a_file_keep_its_content(void **state)
{
    char victim[64], name[64];
    struct dvit_lock lock;
    int fd;
    (void)state;
    assert_ok(dvit_file_replace(in_folder(victim, "victim"), "precious", 8, &error), &error);
    assert_int_equal(link(victim, in_folder(name, "log")), 0);
    assert_ok(dvit_file_open(&fd, name, DVIT_OPEN_NEW, NULL, &error), &error);
    assert_int_equal(write(fd, "mine", 4), 4);
    close(fd);
    test_assert_content(name, "mine", 4);
    assert_int_equal(link(victim, in_folder(name, "lock")), 0);
    assert_ok(dvit_lock_take(&lock, name, &error), &error);
    test_assert_content(victim, "precious", 8);
    dvit_lock_release(&lock);
    test_assert_content(victim, "precious", 8);
}

static void permissions_outlive_replacement(void **state)
{
    char path[64];
    struct stat info;
    static const mode_t modes[] = {0600, 0640, 0444, 0755, 0666};
    (void)state;
    in_folder(path, "file");
    for (size_t i = 0; i < sizeof modes / sizeof *modes; i++) {
        assert_ok(dvit_file_replace(path, "a", 1, &error), &error);
        assert_int_equal(chmod(path, modes[i]), 0);
        assert_ok(dvit_file_replace(path, "b", 1, &error), &error);
        assert_int_equal(stat(path, &info), 0);
        assert_int_equal(info.st_mode & 07777, modes[i]);
        test_assert_content(path, "b", 1);
    }
}

static enum dvit_status trust(const char *path)
{
    int fd;
    assert_ok(dvit_file_open(&fd, path, DVIT_OPEN_READ, NULL, &error), &error);
    enum dvit_status status = dvit_file_check_trust(fd, path, &error);
    close(fd);
    return status;
}

static void only_what_others_cannot_write_is_believed(void **state)
{
    char path[64];
    (void)state;
    assert_ok(dvit_file_replace(in_folder(path, "file"), "a", 1, &error), &error);
    assert_int_equal(chmod(path, 0644), 0);
    assert_ok(trust(path), &error);
    assert_int_equal(chmod(path, 0664), 0);
    assert_fails(trust(path), &error, DVIT_ERROR_IO, "the file may be written by others");
    assert_int_equal(chmod(path, 0646), 0);
    assert_fails(trust(path), &error, DVIT_ERROR_IO, "the file may be written by others");
    assert_int_equal(chmod(path, 0644), 0);
    static const mode_t modes[] = {0770, 0707, 01777};
    for (size_t i = 0; i < sizeof modes / sizeof *modes; i++) {
        assert_int_equal(chmod(folder, modes[i]), 0);
        assert_fails(trust(path), &error, DVIT_ERROR_IO, "its folder may be written by others");
    }
    assert_int_equal(chmod(folder, 0755), 0);
    assert_ok(trust(path), &error);
    if (geteuid() != 0)
        return;
    assert_int_equal(chown(path, 65534, 65534), 0);
    assert_fails(trust(path), &error, DVIT_ERROR_IO, "the file belongs to another user");
    assert_int_equal(chown(path, 0, 0), 0);
    assert_int_equal(chown(folder, 65534, 65534), 0);
    assert_fails(trust(path), &error, DVIT_ERROR_IO, "its folder belongs to another user");
    assert_int_equal(chown(folder, 0, 0), 0);
}

static void only_names_of_temporary_files_are_known(void **state)
{
    (void)state;
    assert_int_equal(dvit_file_pending_process("report.html.123-0.tmp"), 123);
    assert_int_equal(dvit_file_pending_process("a.4194304-999.tmp"), 4194304);
    assert_int_equal(dvit_file_pending_process("state-epoch0001.safetensors.77-link.tmp"), 77);
    static const char *const others[] = {
        "",           ".tmp",       "x.tmp",    "x.1.tmp",     "x-1.tmp",
        "x.1-.tmp",   "x.-1.tmp",   ".1-1.tmp", "1-1.tmp",     "x.1-1.tmp~",
        "x.a1-1.tmp", "x.1-1a.tmp", "x.1-link", "x.-link.tmp", "x.12345678901-1.tmp"};
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        assert_int_equal(dvit_file_pending_process(others[i]), 0);
}

static void what_killed_processes_left_is_swept(void **state)
{
    char path[64], own[64];
    struct dvit_file_writer writer;
    (void)state;
    static const char *const left[] = {"report.html.1-0.tmp", "find_lr.svg.123-4.tmp",
                                       "last.safetensors.9-link.tmp"};
    static const char *const mine[] = {"notes.tmp", "report.html", "x.1.tmp"};
    for (int i = 0; i < 3; i++) {
        assert_ok(dvit_file_replace(in_folder(path, left[i]), "x", 1, &error), &error);
        assert_ok(dvit_file_replace(in_folder(path, mine[i]), "x", 1, &error), &error);
    }
    assert_int_equal(symlink("report.html", in_folder(path, "a.1-0.tmp")), 0);
    assert_ok(dvit_file_begin(&writer, in_folder(own, "own"), &error), &error); /* is written */
    dvit_folder_sweep(folder);
    assert_int_equal(test_folder_count(folder), 3 + 1 + 1);
    assert_ok(dvit_file_write(&writer, "x", 1, &error), &error);
    assert_ok(dvit_file_commit(&writer, &error), &error);
    test_assert_content(own, "x", 1);
    for (int i = 0; i < 3; i++)
        test_assert_content(in_folder(path, mine[i]), "x", 1);
}

static void put(const char *name, const char *text)
{
    char path[256];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    char *slash = strrchr(path, '/');
    *slash = 0;
    assert_ok(dvit_folder_create(path, &error), &error);
    *slash = '/';
    assert_ok(dvit_file_replace(path, text, strlen(text), &error), &error);
}

static void clear(void)
{
    char command[128];
    snprintf(command, sizeof command, "rm -rf %s/proc %s/sys", folder, folder);
    assert_int_equal(system(command), 0);
}

/* The smallest quota of a group and its ancestors, in both versions. */
static void quotas_of_all_groups_above_count(void **state)
{
    (void)state;
    assert_int_equal(dvit_cgroup_processors(folder), 0);
    put("proc/self/cgroup", "0::/system.slice/job.service\n");
    put("sys/fs/cgroup/cpu.max", "max 100000\n");
    assert_int_equal(dvit_cgroup_processors(folder), 0);
    put("sys/fs/cgroup/system.slice/cpu.max", "400000 100000\n");
    put("sys/fs/cgroup/system.slice/job.service/cpu.max", "max 100000\n");
    assert_int_equal(dvit_cgroup_processors(folder), 4);
    put("sys/fs/cgroup/system.slice/job.service/cpu.max", "150000 100000\n");
    assert_int_equal(dvit_cgroup_processors(folder), 2);
    put("sys/fs/cgroup/system.slice/cpu.max", "50000 100000\n");
    assert_int_equal(dvit_cgroup_processors(folder), 1);
    put("sys/fs/cgroup/system.slice/other/cpu.max", "10000 100000\n"); /* nobody's */
    put("sys/fs/cgroup/system.slice/cpu.max", "max 100000\n");
    assert_int_equal(dvit_cgroup_processors(folder), 2);
    clear();

    put("proc/self/cgroup", "5:memory:/a\n4:cpuacct,cpu:/a/b\n1:name=systemd:/c\n");
    put("sys/fs/cgroup/cpu/a/b/cpu.cfs_quota_us", "-1\n");
    put("sys/fs/cgroup/cpu/a/b/cpu.cfs_period_us", "100000\n");
    assert_int_equal(dvit_cgroup_processors(folder), 0);
    put("sys/fs/cgroup/cpu/a/cpu.cfs_quota_us", "250000\n");
    put("sys/fs/cgroup/cpu/a/cpu.cfs_period_us", "100000\n");
    assert_int_equal(dvit_cgroup_processors(folder), 3);
    put("sys/fs/cgroup/cpu/a/b/cpu.cfs_quota_us", "20000\n");
    put("sys/fs/cgroup/cpu/a/b/cpu.cfs_period_us", "10000\n");
    assert_int_equal(dvit_cgroup_processors(folder), 2);
    put("sys/fs/cgroup/cpu/cpu.cfs_quota_us", "50000\n");
    put("sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000\n");
    assert_int_equal(dvit_cgroup_processors(folder), 1);
    clear();

    /* A container's root, its own name unknown inside; nonsense. */
    put("proc/self/cgroup", "0::/../../other\n\n:::\n4:cpu:\nx\n");
    put("sys/fs/cgroup/cpu.max", "300000 100000\n");
    assert_int_equal(dvit_cgroup_processors(folder), 3);
    put("sys/fs/cgroup/cpu.max", "300000 0\n");
    assert_int_equal(dvit_cgroup_processors(folder), 0);
    put("sys/fs/cgroup/cpu.max", "99999999999999999999 1\n");
    assert_int_equal(dvit_cgroup_processors(folder), 0);
    clear();
}

/* What groups still allow, and the machine: the tightest counts. */
static void memory_that_is_left(void **state)
{
    (void)state;
    const char *stat = "anon 5\ninactive_file 300\nactive_file 7\n";
    assert_int_equal(dvit_memory_available(folder), -1);
    put("proc/meminfo", "MemTotal: 9 kB\nMemFree: 1 kB\nMemAvailable:    8 kB\nSwapFree: 2 kB\n");
    assert_int_equal(dvit_memory_available(folder), 10 * 1024);
    put("proc/self/cgroup", "0::/a/b\n");
    put("sys/fs/cgroup/a/b/memory.max", "max\n");
    put("sys/fs/cgroup/a/b/memory.current", "700\n");
    assert_int_equal(dvit_memory_available(folder), 10 * 1024);
    put("sys/fs/cgroup/a/memory.max", "2000\n");
    put("sys/fs/cgroup/a/memory.current", "700\n");
    assert_int_equal(dvit_memory_available(folder), 1300);
    put("sys/fs/cgroup/a/memory.stat", stat); /* files' pages are given up first */
    assert_int_equal(dvit_memory_available(folder), 1600);
    put("sys/fs/cgroup/a/memory.current", "5000\n");
    assert_int_equal(dvit_memory_available(folder), 0);
    clear();

    put("proc/self/cgroup", "5:memory:/x\n4:cpu:/a\n");
    put("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n");
    put("sys/fs/cgroup/memory/memory.usage_in_bytes", "700\n");
    put("sys/fs/cgroup/memory/x/memory.limit_in_bytes", "1000\n");
    put("sys/fs/cgroup/memory/x/memory.usage_in_bytes", "600\n");
    assert_int_equal(dvit_memory_available(folder), 400);
    put("proc/meminfo", "MemAvailable: nonsense\n");
    assert_int_equal(dvit_memory_available(folder), 400);
    clear();
}

static void what_cannot_fit_is_refused(void **state)
{
    (void)state;
    struct dvit_arena arena = {0};
    dvit_arena_take(&arena, (size_t)1 << 50, 1);
    assert_int_equal(dvit_arena_commit(&arena, "a thing", &error), DVIT_ERROR_MEMORY);
    assert_non_null(strstr(error.message, "a thing: needs 1125899.91 GB of memory, there are "));
    assert_int_equal(dvit_memory_check(1 << 20, "a thing", &error), DVIT_OK);
}

#define in_a_folder(test) cmocka_unit_test_setup_teardown(test, make_folder, remove_folder)

int main(void)
{
    const struct CMUnitTest tests[] = {
        in_a_folder(memory_that_is_left),
        cmocka_unit_test(what_cannot_fit_is_refused),
        in_a_folder(links_are_not_followed_to_what_is_written),
        in_a_folder(what_is_no_file_is_refused_at_once),
        in_a_folder(other_names_of_a_file_keep_its_content),
        in_a_folder(permissions_outlive_replacement),
        in_a_folder(only_what_others_cannot_write_is_believed),
        cmocka_unit_test(only_names_of_temporary_files_are_known),
        in_a_folder(what_killed_processes_left_is_swept),
        in_a_folder(quotas_of_all_groups_above_count),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
